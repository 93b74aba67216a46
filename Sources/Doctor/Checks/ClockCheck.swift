import Formats

/// Checks whether the node's clock is right, as far as the node itself can tell.
enum ClockCheck: DoctorCheck {
    static let id = "clock"
    static let title = "clock"

    /// An error that no clock has that NTP keeps.
    private static let errorMicrosecondsMax = 1_000_000

    static func findings(_ node: Examination) -> [Finding] {
        node.clock.map { [finding($0)] } ?? []
    }

    private static func finding(_ clock: ClockReading) -> Finding {
        let remedy = "run chronyd, systemd-timesyncd or another NTP client on the node"
        if let builtSeconds = clock.builtSeconds, clock.nowSeconds < builtSeconds {
            let days = (builtSeconds - clock.nowSeconds) / 86_400
            let before = days == 0 ? "before" : "\(Wording.count(days, "day")) before"
            return finding(
                .warning, "far off: it shows a time \(before) this program was built", remedy)
        }
        guard let error = clock.errorMicroseconds else {
            return finding(
                .note, "not synchronized, as far as the kernel knows",
                "\(remedy); nothing, if the machine's host or hypervisor keeps the clock")
        }
        let bound = "\(error / 1000) ms"
        guard error > errorMicrosecondsMax else { return ok("synchronized to within \(bound)") }
        return finding(
            .note, "off by up to \(bound), as its time service estimates",
            "check that the time service reaches its servers")
    }

    private static func finding(
        _ grade: Finding.Grade, _ found: String, _ remedy: String
    ) -> Finding {
        finding(
            grade, found,
            meaning: """
                packets bear this clock's times, so the sensor sees those of different nodes in the \
                wrong order; if the clock is far off, certificates seem to be invalid
                """, remedy: remedy)
    }
}
