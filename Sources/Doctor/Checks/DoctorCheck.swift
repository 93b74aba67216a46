/// A check of the doctor: judges one aspect of a node by what was read of it.
///
/// A check reads nothing itself; `Examination` does. The documentation has a section about each
/// check, whose anchor is the check's id.
package protocol DoctorCheck {
    /// The id, for programs: `"ring-memory"`.
    static var id: String { get }

    /// The title, for people: `"ring memory"`.
    static var title: String { get }

    /// The findings about a node; none if the check does not apply.
    static func findings(_ node: Examination) -> [Finding]
}

extension DoctorCheck {
    /// A finding that all is well; the text continues the check's title.
    static func ok(_ found: String) -> Finding {
        Finding(.ok, id: id, title: title, found: found, meaning: nil, remedy: nil)
    }

    /// A finding that something is to be known or done.
    ///
    /// `found` continues the check's title, `meaning` says what that does to an agent, and `remedy`
    /// what to do about it.
    static func finding(
        _ grade: Finding.Grade, _ found: String, meaning: String, remedy: String
    ) -> Finding {
        Finding(grade, id: id, title: title, found: found, meaning: meaning, remedy: remedy)
    }
}
