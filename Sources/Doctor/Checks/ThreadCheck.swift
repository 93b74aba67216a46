import Settings

/// Checks whether forwarding threads can have the CPUs and the niceness of the settings.
enum ThreadCheck: DoctorCheck {
    static let id = "threads"
    static let title = "threads"

    static func findings(_ node: Examination) -> [Finding] {
        let placement = node.settings.capture.placement
        let wanted = [
            placement.processors.map { "CPUs \($0)" }, placement.niceness.map { "niceness \($0)" },
        ].compactMap { $0 }.joined(separator: ", ")
        guard !wanted.isEmpty else { return [] }
        guard let failure = node.placementFailure else { return [ok(wanted)] }
        return [
            finding(
                .failed, "\(wanted) cannot be set", meaning: "the agent does not start",
                remedy: "\(failure)")
        ]
    }
}
