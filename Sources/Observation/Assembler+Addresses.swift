import BPF
import Frames

/// Questions about an address in the packet, answered by jumping to one of two points.
extension Assembler {
    /// Is the address at an offset inside one of the networks?
    mutating func isInside(
        _ networks: [Network], at offset: UInt32, then yes: Height, else no: Height, _ note: String
    ) -> Height {
        var next = no
        for network in networks.reversed() {
            next = isInside(network, at: offset, then: yes, else: next, "\(note) \(network)")
        }
        return next
    }

    private mutating func isInside(
        _ network: Network, at offset: UInt32, then yes: Height, else no: Height, _ note: String
    ) -> Height {
        let mask = network.mask
        let masks = Self.words(network.family, mask.high, mask.low)
        let values = network.address.words
        var next = yes
        for index in values.indices.reversed() where masks[index] != 0 {
            jump(.jumpIfEqual, values[index], then: next, else: no, note)
            if masks[index] != .max { prepend(Instruction(.and, masks[index])) }
            next = prepend(Instruction(.loadWord, offset + 4 * UInt32(index)))
        }
        return next
    }

    /// Is the address at an offset one of these? They are sorted, and of one family.
    mutating func isOne(
        of addresses: [IPAddress], at offset: UInt32, then yes: Height, else no: Height,
        _ note: String
    ) -> Height {
        addresses.isEmpty
            ? no
            : search(addresses.map(\.words)[...], word: 0, at: offset, (yes, no), note)
    }

    /// A binary search by one word of the address, then by the next among those that share it.
    private mutating func search(
        _ entries: ArraySlice<[UInt32]>, word: Int, at offset: UInt32, _ ends: (Height, Height),
        _ note: String
    ) -> Height {
        var targets: [(value: UInt32, height: Height)] = []
        var rest = entries
        while let first = rest.first {
            let same = rest.prefix { $0[word] == first[word] }
            rest = rest.dropFirst(same.count)
            let isLast = word + 1 == first.count
            let height =
                isLast ? ends.0 : search(same, word: word + 1, at: offset, ends, note)
            targets.append((first[word], height))
        }
        _ = bisect(targets[...], else: ends.1, note)
        return prepend(Instruction(.loadWord, offset + 4 * UInt32(word)))
    }

    private mutating func bisect(
        _ targets: ArraySlice<(value: UInt32, height: Height)>, else no: Height, _ note: String
    ) -> Height {
        let first = targets[targets.startIndex]
        if targets.count == 1 {
            return jump(.jumpIfEqual, first.value, then: first.height, else: no, note)
        }
        let middle = targets.startIndex + targets.count / 2
        let upper = bisect(targets[middle...], else: no, note)
        let lower = bisect(targets[..<middle], else: no, note)
        return jump(.jumpIfAtLeast, targets[middle].value, then: upper, else: lower, note)
    }

    fileprivate static func words(
        _ family: IPAddress.Family, _ high: UInt64, _ low: UInt64
    ) -> [UInt32] {
        let words = [high >> 32, high, low >> 32, low].map(UInt32.init(truncatingIfNeeded:))
        return family == .ipv4 ? [words[3]] : words
    }
}

extension IPAddress {
    /// The address as the words that a program loads.
    fileprivate var words: [UInt32] { Assembler.words(family, high, low) }
}
