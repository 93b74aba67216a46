package import Addressing

/// The source from which a program loads an address, word by word.
package enum AddressSource: Sendable {
    /// The packet, from an offset on.
    case packet(UInt32)
    /// Scratch memory, from a word on.
    case scratch(UInt32)

    /// Returns the operand for a word of the address, 0 being the first.
    package func word(_ index: Int) -> Assembler.Operand {
        switch self {
        case .packet(let offset): .packet(offset + 4 * UInt32(index))
        case .scratch(let first): .scratch(first + UInt32(index))
        }
    }
}

/// Tests of an address.
extension Assembler {
    /// Tests whether an address is inside one of several networks.
    package mutating func test(
        _ address: AddressSource, inside networks: [IPNetwork], then yes: Label, else no: Label,
        _ note: String
    ) {
        withEnd(yes, no) { code, yes, no in
            for network in networks {
                let nextNetwork = code.makeLabel()
                let mask = Self.words(network.family, network.mask.high, network.mask.low)
                let values = network.address.words
                let note = "\(note) \(network)"
                for index in values.indices where mask[index] != 0 {
                    code.ld(address.word(index), "\(note): word \(index)")
                    if mask[index] != .max { code.and(mask[index], "the network's part of it") }
                    code.jeq(values[index], then: .next, else: nextNetwork, note)
                }
                code.ja(yes)
                code.place(nextNetwork)
            }
            code.ja(no)
        }
    }

    /// Tests whether an address is one of several, which are of one family.
    ///
    /// The last word is tested first: addresses of one network differ in it.
    package mutating func test(
        _ address: AddressSource, isOneOf addresses: [IPAddress], then yes: Label, else no: Label,
        _ note: String
    ) {
        let wordLists = addresses.map { Array($0.words.reversed()) }
            .sorted { $0.lexicographicallyPrecedes($1) }
        guard let last = wordLists.last?.indices.last else { return ja(no) }
        withEnd(yes, no) { code, yes, no in
            let entries = wordLists.map { (words: $0, label: yes) }
            code.search(entries[...], else: no, note) { address.word(last - $0) }
        }
    }

    /// Searches a value of several words among sorted ones, and goes on at the label of its entry.
    ///
    /// `operand` returns the operand for a word of the value, 0 being the first.
    package mutating func search(
        _ entries: ArraySlice<(words: [UInt32], label: Label)>, else no: Label, _ note: String,
        _ operand: (Int) -> Operand
    ) {
        search(entries, word: 0, else: no, note, operand)
    }

    /// Searches by one word, then by the next among the entries that share it.
    private mutating func search(
        _ entries: ArraySlice<(words: [UInt32], label: Label)>, word: Int, else no: Label,
        _ note: String, _ operand: (Int) -> Operand
    ) {
        var targets: [(value: UInt32, label: Label)] = []
        var groups: [(entries: ArraySlice<(words: [UInt32], label: Label)>, label: Label)] = []
        var rest = entries
        while let first = rest.first {
            let value = first.words[word]
            let group = rest.prefix { $0.words[word] == value }
            rest = rest.dropFirst(group.count)
            if word + 1 == first.words.count {
                targets.append((value, first.label))
            } else {
                let label = makeLabel()
                targets.append((value, label))
                groups.append((group, label))
            }
        }
        ld(operand(word), "\(note): word \(word)")
        bisect(targets[...], else: no, note)
        for group in groups.reversed() {
            place(group.label)
            search(group.entries, word: word + 1, else: no, note, operand)
        }
    }

    /// Searches the accumulator among sorted values, by halves.
    private mutating func bisect(
        _ targets: ArraySlice<(value: UInt32, label: Label)>, else no: Label, _ note: String
    ) {
        let first = targets[targets.startIndex]
        if targets.count == 1 { return jeq(first.value, then: first.label, else: no, note) }
        let middle = targets.startIndex + targets.count / 2
        let upper = makeLabel()
        jge(targets[middle].value, then: upper, else: .next, note)
        bisect(targets[..<middle], else: no, note)
        place(upper)
        bisect(targets[middle...], else: no, note)
    }

    /// Writes a test of several instructions, for which `.next` is what follows all of them.
    private mutating func withEnd(
        _ yes: Label, _ no: Label, _ write: (inout Self, _ yes: Label, _ no: Label) -> Void
    ) {
        let end = makeLabel()
        write(&self, yes == .next ? end : yes, no == .next ? end : no)
        place(end)
    }

    fileprivate static func words(
        _ family: IPAddress.Family, _ high: UInt64, _ low: UInt64
    ) -> [UInt32] {
        let words = [high >> 32, high, low >> 32, low].map(UInt32.init(truncatingIfNeeded:))
        return family == .ipv4 ? [words[3]] : words
    }
}

extension IPAddress {
    /// The address in words, as a program loads it.
    package var words: [UInt32] { Assembler.words(family, high, low) }
}
