extension Program {
    /// Whether the kernel takes the program.
    ///
    /// It refuses some programs that are harmless and run elsewhere: those that are longer, those
    /// that may read scratch memory before they write it (`check_load_and_stores`), and those that
    /// load ancillary data it does not have (`bpf_anc_helper`). User space runs them, where
    /// unwritten memory is zero.
    package var isForKernel: Bool {
        instructions.count <= Self.kernelInstructionCountMax && !readsUnwrittenScratch
            && !instructions.contains(where: \.loadsUnknownAncillary)
    }

    /// Whether the kernel gives the program other answers at the pod's end of a pair than at the host's.
    ///
    /// A program does if it asks for the packet's type, as `inbound` and `outbound` of pcap-filter(7) do,
    /// or for the interface.
    package var asksForPlace: Bool {
        instructions.contains { step in
            step.opcode.isLoadAtOffset
                && [Ancillary.packetTypeOffset, Ancillary.interfaceIndexOffset].contains(
                    step.operand)
        }
    }

    /// Whether some path reads a word of scratch memory that it has not written.
    ///
    /// One pass follows all paths: jumps go only forward, so all jumps to an instruction have been
    /// seen when it is reached.
    private var readsUnwrittenScratch: Bool {
        // The words that are written on every path to an instruction, a bit each.
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
        guard opcode.isLoadAtOffset, operand >= Ancillary.base else {
            return false
        }
        return !Ancillary.isKnown(operand - Ancillary.base)
    }
}

extension Ancillary {
    /// Whether the kernel has ancillary data at an offset.
    ///
    /// Every fourth offset has: `SKF_AD_PROTOCOL` to `SKF_AD_VLAN_TPID` (`<linux/filter.h>`).
    fileprivate static func isKnown(_ offset: UInt32) -> Bool { offset <= 60 && offset % 4 == 0 }
}
