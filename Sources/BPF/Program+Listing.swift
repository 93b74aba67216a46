extension Program {
    /// The program as text: for each instruction its form in `tcpdump -d`, and its reason.
    package var listing: [(instruction: String, note: String)] {
        instructions.indices.map { index in
            let step = instructions[index]
            let note = index < notes.count ? notes[index] : ""
            return (step.text(at: index), note.isEmpty ? step.meaning : note)
        }
    }
}

extension Instruction {
    /// Returns the instruction in the notation of bpf_asm(8); jumps name the lines of targets.
    func text(at index: Int) -> String {
        let word = opcode.mnemonic.padded(to: 5)
        switch opcode.group {
        case 0x05 where opcode == .jump: return "\(word) \(index + 1 + Int(operand))"
        case 0x05:
            let value = opcode.usesX ? "x" : "#\(hex(operand))"
            let yes = "jt \(index + 1 + Int(ifTrue))".padded(to: 8)
            return "\(word) \(value.padded(to: 12)) \(yes) jf \(index + 1 + Int(ifFalse))"
        case 0x04 where opcode == .negate, 0x07: return opcode.mnemonic
        case 0x04: return "\(word) \(opcode.usesX ? "x" : "#\(hex(operand))")"
        case 0x06: return "\(word) \(opcode == .keepA ? "a" : "#\(operand)")"
        default: return "\(word) \(place)"
        }
    }

    /// The operand of a load or store.
    private var place: String {
        switch opcode {
        case .loadConstant, .loadConstantToX: "#\(hex(operand))"
        case .loadScratch, .loadScratchToX, .storeScratch, .storeScratchFromX: "M[\(operand)]"
        case .loadLength, .loadLengthToX: "#pktlen"
        case .loadHeaderLengthToX: "4*([\(operand)]&0xf)"
        case .loadWordPastX, .loadHalfPastX, .loadBytePastX: "[x + \(operand)]"
        default:
            operand >= Ancillary.base
                ? "#\(Ancillary.names[operand - Ancillary.base] ?? "ancillary")" : "[\(operand)]"
        }
    }

    /// The effect of an instruction, for one that has no note.
    fileprivate var meaning: String {
        switch opcode {
        case .loadWord, .loadHalf, .loadByte:
            operand == Ancillary.packetTypeOffset
                ? "the packet's direction"
                : operand >= Ancillary.base ? "the kernel's metadata" : "bytes of the packet"
        case .loadWordPastX, .loadHalfPastX, .loadBytePastX: "bytes of the packet, past x"
        case .loadLength, .loadLengthToX: "the packet's length"
        case .loadConstant, .loadConstantToX: "a number"
        case .loadScratch, .loadScratchToX: "what was stored before"
        case .loadHeaderLengthToX: "the IPv4 header's length"
        case .storeScratch, .storeScratchFromX: "stored for later"
        case .jump: "go on there"
        case .keep, .keepA: operand == 0 && opcode == .keep ? "drop" : "keep this many bytes"
        case .copyToX, .copyFromX: "between the registers"
        default: opcode.group == 0x05 ? "which way?" : "arithmetic"
        }
    }

    private func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
}

extension Ancillary {
    /// The names of ancillary data in bpf_asm(8), by offset.
    fileprivate static let names: [UInt32: String] = [
        0: "proto", 4: "type", 8: "ifidx", 12: "nla", 16: "nlan", 20: "mark", 24: "queue",
        28: "hatype", 32: "rxhash", 36: "cpu", 44: "vlan_tci", 48: "vlan_avail", 52: "poff",
        56: "rand", 60: "vlan_tpid",
    ]
}

extension Opcode {
    /// The opcode's name in bpf_asm(8).
    fileprivate var mnemonic: String {
        switch self {
        case .loadWord, .loadWordPastX, .loadLength, .loadConstant, .loadScratch: "ld"
        case .loadHalf, .loadHalfPastX: "ldh"
        case .loadByte, .loadBytePastX: "ldb"
        case .loadConstantToX, .loadScratchToX, .loadLengthToX: "ldx"
        case .loadHeaderLengthToX: "ldxb"
        case .storeScratch: "st"
        case .storeScratchFromX: "stx"
        case .jump: "jmp"
        case .keep, .keepA: "ret"
        case .copyToX: "tax"
        case .copyFromX: "txa"
        case .negate: "neg"
        default: Self.operations[withConstant] ?? "?"
        }
    }

    private static let operations: [Self: String] = [
        .add: "add", .subtract: "sub", .multiply: "mul", .divide: "div", .or: "or", .and: "and",
        .shiftLeft: "lsh", .shiftRight: "rsh", .modulo: "mod", .xor: "xor", .jumpIfEqual: "jeq",
        .jumpIfGreater: "jgt", .jumpIfAtLeast: "jge", .jumpIfAny: "jset",
    ]
}

extension String {
    fileprivate func padded(to count: Int) -> String {
        self + String(repeating: " ", count: max(0, count - self.count))
    }
}
