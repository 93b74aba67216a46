import Formats

/// A finding of a check: what was found, what it means, and what to do.
///
/// Its texts have no invisible characters, whatever is in the values and names that they cite.
package struct Finding: Equatable, Sendable {
    /// How much the finding matters.
    package let grade: Grade
    /// The id of the check: `"ring-memory"`.
    package let check: String
    /// The title of the check: `"ring memory"`.
    package let title: String
    /// What was found.
    package let found: String
    /// What that does to an agent; nil if all is well.
    package let meaning: String?
    /// What to do about it; nil if all is well.
    package let remedy: String?

    /// How much a finding matters to an agent with these settings on this node, from least to most.
    package enum Grade: String, CaseIterable, Sendable {
        case ok
        /// It works; worth knowing.
        case note
        /// The agent runs, but something is missed, doubled or at risk.
        case warning
        /// The agent would not start, or would capture nothing.
        case failed
    }

    init(
        _ grade: Grade, id: String, title: String, found: String, meaning: String?,
        remedy: String?
    ) {
        (self.grade, check, self.title) = (grade, id, title)
        self.found = Wording.visible(found)
        self.meaning = meaning.map(Wording.visible)
        self.remedy = remedy.map(Wording.visible)
    }
}
