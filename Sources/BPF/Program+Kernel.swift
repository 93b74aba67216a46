extension Program {
    /// Whether the kernel takes the program, too. It refuses a few that cannot do harm and that others
    /// run: longer ones, those that may read scratch memory which they have not written
    /// (`check_load_and_stores`), and those that ask for what it does not know of packets
    /// (`bpf_anc_helper`). User space runs them, where unwritten memory is zero.
    package var isForKernel: Bool {
        instructions.count <= Self.kernelInstructionCountMax && !readsUnwrittenScratch
            && !instructions.contains(where: \.loadsUnknownAncillary)
    }

    /// Follows all paths at once: jumps go forward only, so a step has been reached from everywhere
    /// when it is looked at.
    private var readsUnwrittenScratch: Bool {
        // The words that are written on every path to a step, a bit each.
        var written = [UInt16](repeating: .max, count: instructions.count + 1)
        var current: UInt16 = 0
        for (index, step) in instructions.enumerated() {
            current &= written[index]
            switch step.opcode {
            case .storeScratch, .storeScratchFromX: current |= 1 << UInt16(step.operand)
            case .loadScratch, .loadScratchToX:
                guard current & 1 << UInt16(step.operand) != 0 else { return true }
            case .jump:
                written[index + 1 + Int(step.operand)] &= current
                current = .max
            case let opcode where Opcode.conditionalJumps.contains(opcode.withConstant):
                written[index + 1 + Int(step.ifTrue)] &= current
                written[index + 1 + Int(step.ifFalse)] &= current
                current = .max
            default: break
            }
        }
        return false
    }
}

extension Instruction {
    fileprivate var loadsUnknownAncillary: Bool {
        guard [.loadWord, .loadHalf, .loadByte].contains(opcode), operand >= Ancillary.base else {
            return false
        }
        return !Ancillary.isKnown(operand - Ancillary.base)
    }
}

extension Ancillary {
    /// Every fourth offset from the protocol to the VLAN's protocol: `SKF_AD_PROTOCOL` to
    /// `SKF_AD_VLAN_TPID` of `<linux/filter.h>`.
    fileprivate static func isKnown(_ offset: UInt32) -> Bool { offset <= 60 && offset % 4 == 0 }
}
