/// A set of processors by their numbers, as a bit mask of the kernel's.
///
/// Its text is that of `/sys` and taskset(1): `0,2,4-7`.
package struct ProcessorSet: Equatable, Sendable, CustomStringConvertible {
    let words: [CUnsignedLong]

    /// The most processors that a kernel can be built for (`CONFIG_NR_CPUS`).
    ///
    /// Kernels built for fewer ignore the rest. `cpu_set_t` ends at 1,024.
    package static let countMax = 8192

    static let none = [CUnsignedLong](repeating: 0, count: countMax / CUnsignedLong.bitWidth)
    /// All processors that a kernel can know.
    package static let all = Self(words: none.map { ~$0 })

    init(words: [CUnsignedLong]) { self.words = words }

    /// The processors with these numbers, which are below `countMax`.
    package init(_ numbers: some Sequence<Int>) {
        var words = Self.none
        for number in numbers {
            words[number / CUnsignedLong.bitWidth] |= 1 << (number % CUnsignedLong.bitWidth)
        }
        self.init(words: words)
    }

    /// Parses a list such as `0,2,4-7`; nil if it is empty or has anything but numbers and ranges.
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

    /// The processors' numbers, in order.
    package var numbers: [Int] {
        (0..<Self.countMax).filter { number in
            words[number / CUnsignedLong.bitWidth] & 1 << (number % CUnsignedLong.bitWidth) != 0
        }
    }

    /// The processors that are in this set and not in another one.
    package func subtracting(_ other: Self) -> Self {
        Self(words: zip(words, other.words).map { $0 & ~$1 })
    }

    /// Whether there is no processor in the set.
    package var isEmpty: Bool { words.allSatisfy { $0 == 0 } }

    /// The list with ranges: `0,2,4-7`.
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
