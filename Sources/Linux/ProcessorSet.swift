/// Processors by their numbers, as the kernel has them: a bit each. Read and written as in `/sys` and in
/// taskset(1): `0,2,4-7`.
package struct ProcessorSet: Equatable, Sendable, CustomStringConvertible {
    let words: [CUnsignedLong]

    /// The most that a kernel can be built for (`CONFIG_NR_CPUS`); smaller ones take no notice of the
    /// rest. `cpu_set_t` ends at 1,024.
    package static let countMax = 8192

    static let none = [CUnsignedLong](repeating: 0, count: countMax / CUnsignedLong.bitWidth)
    /// All that there can be.
    package static let all = Self(words: none.map { ~$0 })

    init(words: [CUnsignedLong]) { self.words = words }

    package init(_ numbers: some Sequence<Int>) {
        var words = Self.none
        for number in numbers {
            words[number / CUnsignedLong.bitWidth] |= 1 << (number % CUnsignedLong.bitWidth)
        }
        self.init(words: words)
    }

    /// Nil for a list that is empty or has anything else than numbers and ranges that the kernel can
    /// know.
    package init?(_ text: String) {
        var numbers: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false)
            guard ends.count <= 2, let first = Self.number(ends[0]),
                let last = Self.number(ends[ends.count - 1]), first <= last
            else { return nil }
            numbers += first...last
        }
        self.init(numbers)
    }

    private static func number(_ text: Substring) -> Int? {
        guard text.allSatisfy({ ("0"..."9").contains($0) }) else { return nil }
        return Int(text).flatMap { $0 < countMax ? $0 : nil }
    }

    package var numbers: [Int] {
        (0..<Self.countMax).filter { number in
            words[number / CUnsignedLong.bitWidth] & 1 << (number % CUnsignedLong.bitWidth) != 0
        }
    }

    package func subtracting(_ other: Self) -> Self {
        Self(words: zip(words, other.words).map { $0 & ~$1 })
    }

    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    package var description: String {
        var ranges: [ClosedRange<Int>] = []
        for number in numbers {
            if let last = ranges.last, last.upperBound == number - 1 {
                ranges[ranges.count - 1] = last.lowerBound...number
            } else {
                ranges.append(number...number)
            }
        }
        return ranges.map {
            $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)"
        }.joined(separator: ",")
    }
}
