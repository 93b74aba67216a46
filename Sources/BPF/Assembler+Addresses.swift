package import Frames

/// Questions about an address in the packet, answered by jumping to one of two points.
extension Assembler {
    /// Is the address at an offset inside one of the networks?
    package mutating func isInside(
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
            if masks[index] != .max {
                prepend(Instruction(.and, masks[index]), "the network's part of it")
            }
            next = prepend(
                Instruction(.loadWord, offset + 4 * UInt32(index)), "\(note): word \(index)")
        }
        return next
    }

    /// Is the address at an offset one of these? They are sorted, and of one family.
    package mutating func isOne(
        of addresses: [IPAddress], at offset: UInt32, then yes: Height, else no: Height,
        _ note: String
    ) -> Height {
        guard !addresses.isEmpty else { return no }
        let entries = addresses.map { (words: $0.words, height: yes) }
        return search(entries[...], else: no, note) { word in
            Instruction(.loadWord, offset + 4 * UInt32(word))
        }
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
