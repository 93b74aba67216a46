/// Times as people write and read them.
extension Duration {
    /// Reads `"90"` or `"90s"`, `"5m"`, `"1h"` or `"1d"`, up to ten years.
    package init?(text: String) {
        let digits = text.prefix { ("0"..."9").contains($0) }
        let units: [String: Int64] = ["": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let number = Int64(digits), let unit = units[String(text.dropFirst(digits.count))],
            number <= Self.secondsMax / unit
        else { return nil }
        self = .seconds(number * unit)
    }

    /// Ten years of 365 days.
    private static let secondsMax: Int64 = 315_360_000

    /// The two largest units, whole seconds at least: `"2h 05m"`, `"3m 20s"` or `"12s"`.
    package var text: String {
        let seconds = max(0, components.seconds)
        func two(_ number: Int64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        if seconds >= 3600 { return "\(seconds / 3600)h \(two(seconds / 60 % 60))m" }
        return seconds >= 60 ? "\(seconds / 60)m \(two(seconds % 60))s" : "\(seconds)s"
    }
}
