/// Amounts as people write them.
extension Quantity {
    /// Reads `"1048576"`, `"100MiB"`, `"100Mi"` or `"100M"`, in powers of two, up to a pebibyte.
    package static func byteCount(_ text: String) -> UInt64? {
        let digits = text.prefix { ("0"..."9").contains($0) }
        var unit = text.dropFirst(digits.count)
        if unit.count > 1, unit.hasSuffix("B") { unit = unit.dropLast() }
        if unit.count > 1, unit.hasSuffix("i") { unit = unit.dropLast() }
        let shifts = ["": 0, "B": 0, "K": 10, "M": 20, "G": 30, "T": 40]
        guard let number = UInt64(digits), let shift = shifts[String(unit)] else { return nil }
        return scaled(number, by: 1 << UInt64(shift), most: 1 << 50)
    }

    /// Reads `"90"` or `"90s"`, `"5m"`, `"1h"` or `"1d"`, up to ten years; answers nanoseconds.
    package static func nanoseconds(_ text: String) -> UInt64? {
        let digits = text.prefix { ("0"..."9").contains($0) }
        let units: [String: UInt64] = ["": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400]
        guard let number = UInt64(digits), let unit = units[String(text.dropFirst(digits.count))]
        else { return nil }
        return scaled(number, by: unit, most: 315_360_000).map { $0 * 1_000_000_000 }
    }

    private static func scaled(_ number: UInt64, by factor: UInt64, most: UInt64) -> UInt64? {
        let product = number.multipliedReportingOverflow(by: factor)
        return product.overflow || product.partialValue > most ? nil : product.partialValue
    }
}
