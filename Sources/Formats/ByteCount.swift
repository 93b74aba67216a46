/// A number of bytes as people write and read it.
package struct ByteCount: Hashable, Sendable, CustomStringConvertible {
    package let value: UInt64

    /// No file, ring or queue has more: one pebibyte.
    private static let valueMax: UInt64 = 1 << 50
    private static let shifts = ["": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40]

    package init(_ value: UInt64) { self.value = value }

    /// Reads `"1048576"`, `"100MiB"`, `"100 Mi"` or `"100M"`, up to a pebibyte.
    ///
    /// Every unit is a power of two, also where the text has no `i`. Spaces may stand before it.
    package init?(_ text: String) {
        let digits = text.prefix { ("0"..."9").contains($0) }
        var unit = text.dropFirst(digits.count)
        if !unit.isEmpty, unit.last != " " { unit = unit.drop { $0 == " " } }
        if unit.count > 1, unit.hasSuffix("B") { unit = unit.dropLast() }
        if unit.count > 1, unit.hasSuffix("i") { unit = unit.dropLast() }
        guard let number = UInt64(digits), let shift = Self.shifts[String(unit)],
            number <= Self.valueMax >> shift
        else { return nil }
        value = number << shift
    }

    private static let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]

    /// The largest number that `text` has without a decimal.
    private static let wholeMax: UInt64 = 9999

    /// The number with one decimal and the largest unit that fits: `"1.5 MiB"`.
    package var description: String {
        let units = Self.units
        guard value >= 1024 else { return "\(value) B" }
        let index = (63 - value.leadingZeroBitCount) / 10
        let unit = UInt64(1) << (index * 10)
        return "\(value / unit).\(value % unit * 10 / unit) \(units[index])"
    }

    /// The exact number in whole units, if that is short: `"1104 MiB"`; or else with one decimal.
    package var text: String {
        let index = value == 0 ? 0 : min(value.trailingZeroBitCount / 10, Self.units.count - 1)
        let number = value >> (10 * UInt64(index))
        return number > Self.wholeMax ? description : "\(number) \(Self.units[index])"
    }
}
