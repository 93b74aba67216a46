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
        let instructions = instructions.map { step in
            step.opcode == .keep ? Instruction(.keep, min(step.operand, byteCountMax)) : step
        }
        return Self(unchecked: instructions, notes: notes)
    }
}
