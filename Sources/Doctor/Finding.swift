/// One thing that the doctor has looked at, and what came out.
package struct Finding: Equatable, Sendable {
    package let grade: Grade
    /// What was looked at: "capabilities".
    package let check: String
    /// What it is like, as a person would say it after the check's name.
    package let found: String
    /// What that does to an agent, and what to do about it; nil where all is well.
    package let meaning: String?
    package let remedy: String?

    /// How much it matters to an agent with these settings on this node, from least to most.
    package enum Grade: String, CaseIterable, Sendable {
        case ok
        /// It works; worth knowing.
        case note
        /// It runs, but something is missed, doubled or at risk.
        case warning
        /// It would not start, or not capture anything.
        case failed
    }

    package init(
        _ grade: Grade, _ check: String, _ found: String, meaning: String, remedy: String
    ) {
        (self.grade, self.check, self.found) = (grade, check, found)
        (self.meaning, self.remedy) = (meaning, remedy)
    }

    private init(ok check: String, _ found: String) {
        (grade, self.check, self.found) = (.ok, check, found)
        (meaning, remedy) = (nil, nil)
    }

    package static func ok(_ check: String, _ found: String) -> Self {
        Self(ok: check, found)
    }
}

/// How findings are worded.
extension Finding {
    /// All of it in one line, for a log.
    var line: String {
        "\(check): " + [found, meaning, remedy].compactMap { $0 }.joined(separator: "; ")
    }
}
