package import Addressing

/// Where a program finds an address, word after word.
package enum AddressSource: Sendable {
    /// From an offset of the packet on.
    case packet(UInt32)
    /// From a word of scratch memory on.
    case scratch(UInt32)

    package func load(_ word: Int) -> Instruction {
        switch self {
        case .packet(let offset): Instruction(.loadWord, offset + 4 * UInt32(word))
        case .scratch(let first): Instruction(.loadScratch, first + UInt32(word))
        }
    }
}

/// Questions about an address, answered by jumping to one of two points.
extension Assembler {
    /// Is the address inside one of the networks?
    package mutating func isInside(
        _ networks: [IPNetwork], at place: AddressSource, then yes: Height, else no: Height,
        _ note: String
    ) -> Height {
        var next = no
        for network in networks.reversed() {
            next = isInside(network, at: place, then: yes, else: next, "\(note) \(network)")
        }
        return next
    }

    private mutating func isInside(
        _ network: IPNetwork, at place: AddressSource, then yes: Height, else no: Height,
        _ note: String
    ) -> Height {
        let mask = network.mask
        let masks = Self.words(network.family, mask.high, mask.low)
        let values = network.address.words
        var next = yes
        for index in values.indices.reversed() where masks[index] != 0 {
            jump(.jumpIfEqual, values[index], then: next, else: no, note)
            if masks[index] != .max {
                prepend(Instruction(.and, masks[index]), "the network's part of it")
            }
            next = prepend(place.load(index), "\(note): word \(index)")
        }
        return next
    }

    /// Is the address one of these, which are of one family? The last word comes first: it is the one
    /// in which addresses of one network differ.
    package mutating func isOne(
        of addresses: [IPAddress], at place: AddressSource, then yes: Height, else no: Height,
        _ note: String
    ) -> Height {
        let wordLists = addresses.map { Array($0.words.reversed()) }
            .sorted { $0.lexicographicallyPrecedes($1) }
        guard let last = wordLists.last?.indices.last else { return no }
        let entries = wordLists.map { (words: $0, height: yes) }
        return search(entries[...], else: no, note) { place.load(last - $0) }
    }

    /// Finds a value of several words among sorted ones, and goes on where that one says.
    package mutating func search(
        _ entries: ArraySlice<(words: [UInt32], height: Height)>, else no: Height, _ note: String,
        load: (Int) -> Instruction
    ) -> Height {
        search(entries, word: 0, else: no, note, load)
    }

    /// A binary search by one word, then by the next among those that share it.
    private mutating func search(
        _ entries: ArraySlice<(words: [UInt32], height: Height)>, word: Int, else no: Height,
        _ note: String, _ load: (Int) -> Instruction
    ) -> Height {
        var targets: [(value: UInt32, height: Height)] = []
        var rest = entries
        while let first = rest.first {
            let value = first.words[word]
            let same = rest.prefix { $0.words[word] == value }
            rest = rest.dropFirst(same.count)
            let isLast = word + 1 == first.words.count
            let height =
                isLast ? first.height : search(same, word: word + 1, else: no, note, load)
            targets.append((value, height))
        }
        _ = bisect(targets[...], else: no, note)
        return prepend(load(word), "\(note): word \(word)")
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
    package var words: [UInt32] { Assembler.words(family, high, low) }
}
