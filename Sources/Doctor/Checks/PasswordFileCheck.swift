/// Checks whether the password file can be used.
enum PasswordFileCheck: DoctorCheck {
    static let id = "password-file"
    static let title = "password file"

    static func findings(_ node: Examination) -> [Finding] {
        node.passwordFile.map(fileFindings) ?? []
    }
}

extension DoctorCheck {
    /// The findings about a file that a setting names.
    static func fileFindings(_ file: FileState) -> [Finding] {
        switch file {
        case .usable(let found): [ok(found)]
        case .doubtful(let warnings):
            warnings.map {
                finding(
                    .warning, $0, meaning: "clients may be accepted or refused wrongly",
                    remedy: "correct the file; a running agent reads it again by itself")
            }
        case .unusable(let reason):
            [
                finding(
                    .failed, reason, meaning: "the agent does not start, and exits with 64",
                    remedy: "mount the file where the setting says, in a form that can be used")
            ]
        }
    }
}
