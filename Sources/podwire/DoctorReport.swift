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

    /// The findings for people: a line with the grade, the check's title and what was found.
    ///
    /// Below it stand what that means and what to do.
    var text: String {
        let gradeWidth = Finding.Grade.allCases.map(\.rawValue.count).max() ?? 0
        let titleWidth = findings.map(\.title.count).max() ?? 0
        let indent = gradeWidth + titleWidth + 2 * Self.gap.count
        let blocks = findings.map { finding in
            let head =
                Self.padded(finding.grade.rawValue, gradeWidth) + Self.gap
                + Self.padded(finding.title, titleWidth) + Self.gap
            let parts = [
                ("", finding.found), ("means: ", finding.meaning), ("do: ", finding.remedy),
            ].compactMap { label, text in text.map { (label, $0) } }
            let width = max(Self.textWidthMin, outputWidth - indent)
            let lines = parts.flatMap { Wording.lines($0 + $1, width: width, hanging: $0.count) }
            let pad = String(repeating: " ", count: indent)
            return head + lines.joined(separator: "\n\(pad)") + "\n"
        }
        return blocks.joined() + "\n\(summary)\n"
    }

    private var summary: String {
        Finding.Grade.allCases.reversed().map { grade in
            let isCounted = [.warning, .note].contains(grade) && count(grade) != 1
            return "\(count(grade)) \(grade.rawValue)\(isCounted ? "s" : "")"
        }.joined(separator: ", ")
    }

    private static let gap = "  "
    /// The least width of the texts on the right.
    private static let textWidthMin = 40

    private static func padded(_ text: String, _ width: Int) -> String {
        Wording.padded(text, to: width)
    }

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
