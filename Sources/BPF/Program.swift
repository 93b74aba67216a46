/// A classic BPF program, ready for `SO_ATTACH_FILTER`.
///
/// A program that exists has been checked: it ends, reads only what there is, and the interpreter
/// cannot trap on it.
package struct Program: Equatable, Sendable {
    package let instructions: [Instruction]
    /// Why each instruction is there, for people; empty for programs that others wrote.
    package let notes: [String]

    /// The kernel's own limit, `BPF_MAXINSNS`. A longer program can only run in user space.
    package static let kernelInstructionCountMax = 4096

    /// Keeps every packet whole.
    package static let keepAll = Self(
        unchecked: [Instruction(.keep, UInt32.max)], notes: ["everything"])

    /// Keeps none.
    package static let keepNothing = Self(
        unchecked: [Instruction(.keep, 0)], notes: ["nothing"])

    /// Takes instructions from somebody else.
    package init(checking instructions: [Instruction]) throws(Failure) {
        try Self.check(instructions)
        self.init(unchecked: instructions, notes: [])
    }

    init(unchecked instructions: [Instruction], notes: [String]) {
        self.instructions = instructions
        self.notes = notes
    }

    /// The same program, which keeps no more than so many bytes.
    package func truncating(to byteCountMax: UInt32) -> Self {
        mappingAmounts { min($0, byteCountMax) }
    }

    /// The same program, which keeps so many bytes wherever it keeps any.
    package func keeping(_ byteCount: UInt32) -> Self {
        mappingAmounts { $0 > 0 ? byteCount : 0 }
    }

    /// How many bytes it keeps wherever it keeps any; nil if that differs from packet to packet.
    package var keptByteCount: UInt32? {
        let amounts = Set(instructions.lazy.filter { $0.opcode == .keep }.map(\.operand))
            .subtracting([0])
        let isComputed = instructions.contains { $0.opcode == .keepA }
        return isComputed || amounts.count > 1 ? nil : amounts.first ?? 0
    }

    private func mappingAmounts(_ amount: (UInt32) -> UInt32) -> Self {
        let instructions = instructions.map { step in
            step.opcode == .keep ? Instruction(.keep, amount(step.operand)) : step
        }
        return Self(unchecked: instructions, notes: notes)
    }
}
