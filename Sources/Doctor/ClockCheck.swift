import Formats
import Linux

/// Whether the node's clock is right, as far as that can be known without asking anybody.
package struct ClockCheck: Sendable {
    package let nowSeconds: Int
    /// How far off it may be; nil if nothing keeps it right, or nothing that has told the kernel.
    package let errorMicroseconds: Int?
    /// When this program was built: it cannot be earlier than that.
    package let builtSeconds: Int?

    package init(nowSeconds: Int, errorMicroseconds: Int?, builtSeconds: Int?) {
        self.nowSeconds = nowSeconds
        self.errorMicroseconds = errorMicroseconds
        self.builtSeconds = builtSeconds
    }

    static var current: Self {
        Self(
            nowSeconds: Int(wallClockNanoseconds() / 1_000_000_000),
            errorMicroseconds: wallClockErrorMicroseconds(),
            builtSeconds: (try? FileStamp(of: "/proc/self/exe"))?.writtenSeconds)
    }

    private static let name = "clock"
    /// More than any clock is off that is kept by NTP.
    private static let errorMicrosecondsMax = 1_000_000

    package var finding: Finding {
        let meaning = """
            packets bear this clock's times, so those of different nodes are in the wrong order at \
            the sensor; and if it is far off, certificates seem to be invalid
            """
        let remedy = "have chronyd, systemd-timesyncd or another NTP client run on the node"
        if let builtSeconds, nowSeconds < builtSeconds {
            let days = (builtSeconds - nowSeconds) / 86_400
            let before = days == 0 ? "before" : "\(Wording.count(days, "day")) before"
            return Finding(
                .warning, Self.name, "far off: it shows a time \(before) this program was built",
                meaning: meaning, remedy: remedy)
        }
        guard let errorMicroseconds else {
            return Finding(
                .note, Self.name, "nothing tells the kernel that it keeps it right",
                meaning: meaning,
                remedy: "\(remedy); nothing, if the machine's host or hypervisor keeps it")
        }
        let found = "right to within \(errorMicroseconds / 1000) ms, says what keeps it so"
        guard errorMicroseconds > Self.errorMicrosecondsMax else { return .ok(Self.name, found) }
        return Finding(.note, Self.name, found, meaning: meaning, remedy: "see that it is reached")
    }
}
