import Doctor
import Formats

/// The doctor's findings as text or as JSON.
struct DoctorReport {
    private let findings: [Finding]

    init(_ findings: [Finding]) { self.findings = findings }

    func hasFailed(strictly: Bool) -> Bool {
        count(.failed) > 0 || strictly && count(.warning) > 0
    }

    private func count(_ grade: Finding.Grade) -> Int { findings.count { $0.grade == grade } }

    /// The findings for people: the grade, the check's title and what was found.
    ///
    /// Below them stand what that means and what to do.
    func text(in window: Window) -> String {
        let gradeWidth = Finding.Grade.allCases.map(\.rawValue.count).max() ?? 0
        let titleWidth = findings.map(\.title.count).max() ?? 0
        let indent = gradeWidth + titleWidth + 2 * Self.gap.count
        // Where there is little room, what was found stands below its title.
        let isBeside = window.sentenceWidth - indent >= Self.textWidthMin
        let blocks = findings.map { finding in
            let grade = window.text(
                Wording.padded(finding.grade.rawValue, to: gradeWidth), finding.grade.emphasis)
            let title = isBeside ? Wording.padded(finding.title, to: titleWidth) : finding.title
            let found = Self.lines(finding.found, window, indent: isBeside ? indent : Self.indent)
            let parts = [("means: ", finding.meaning), ("do: ", finding.remedy)].flatMap {
                label, text in
                text.map { Self.lines(label + $0, window, indent: Self.indent, label.count) } ?? []
            }
            let head = grade + Self.gap + window.text(title, finding.grade == .ok ? .none : .strong)
            let lines =
                isBeside
                ? [head + Self.gap + found[0].dropFirst(indent)] + found.dropFirst()
                : [head] + found
            return (lines + parts).map { $0 + "\n" }.joined()
        }
        return blocks.joined() + "\n\(summary(in: window))\n"
    }

    /// A text in lines that all begin at a column, and that hang from the second one on.
    private static func lines(
        _ text: String, _ window: Window, indent: Int, _ hanging: Int = 0
    ) -> [String] {
        let width = max(1, window.sentenceWidth - indent)
        let pad = String(repeating: " ", count: indent)
        return Wording.lines(
            text, width: width, hanging: hanging, breaksWords: window.width != nil
        ).map { pad + $0 }
    }

    private func summary(in window: Window) -> String {
        Finding.Grade.allCases.reversed().map { grade in
            let isCounted = [.warning, .note].contains(grade) && count(grade) != 1
            let text = "\(count(grade)) \(grade.rawValue)\(isCounted ? "s" : "")"
            return window.text(text, count(grade) == 0 ? .none : grade.emphasis)
        }.joined(separator: ", ")
    }

    private static let gap = "  "
    /// The column of what a finding means, and of what to do.
    private static let indent = 9
    /// The least width of what was found beside its title.
    private static let textWidthMin = 40

    /// The findings for programs, and the number of each grade.
    var json: String {
        let objects = findings.map { finding in
            JSON.object([
                ("grade", .text(finding.grade.rawValue)), ("check", .text(finding.check)),
                ("found", .text(finding.found)),
                ("meaning", finding.meaning.map { .text($0) } ?? .null),
                ("remedy", finding.remedy.map { .text($0) } ?? .null),
            ])
        }
        let counts = Finding.Grade.allCases.map { ($0.rawValue, JSON.number(count($0))) }
        return JSON.object(counts + [("findings", .array(objects))]).text + "\n"
    }
}

extension Finding.Grade {
    /// What sets the grade off on a terminal.
    fileprivate var emphasis: Emphasis {
        switch self {
        case .ok: .good
        case .note: .none
        case .warning: .warning
        case .failed: .bad
        }
    }
}
