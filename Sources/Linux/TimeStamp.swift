import Glibc

/// The time of day in UTC, as text.
package enum TimeStamp {
    /// The time now to the millisecond, as RFC 3339 has it.
    package static func forLog() -> String { text(nanoseconds: wallClockNanoseconds()) }

    /// A time since 1970 to the millisecond, as RFC 3339 has it.
    package static func text(nanoseconds: UInt64) -> String {
        let milliseconds = String(nanoseconds / 1_000_000 % 1000)
        let padding = String(repeating: "0", count: 3 - milliseconds.count)
        return "\(text("%Y-%m-%dT%H:%M:%S", nanoseconds)).\(padding)\(milliseconds)Z"
    }

    /// The time of day to the second, of a time since 1970.
    package static func clockText(nanoseconds: UInt64) -> String { text("%H:%M:%S", nanoseconds) }

    /// The time now to the second, without characters that are awkward in a file name.
    package static func forFileName() -> String { text("%Y%m%d-%H%M%S", wallClockNanoseconds()) }

    private static func text(_ format: String, _ nanoseconds: UInt64) -> String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = unsafe tm()
        // Safety: gmtime_r(3) writes into `parts`, and strftime(3) at most the buffer's size.
        unsafe _ = gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 32)
        let count = unsafe strftime(&text, text.count, format, &parts)
        return String(decoding: text.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
