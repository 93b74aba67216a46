/// A classic BPF program, ready for `SO_ATTACH_FILTER`.
///
/// Every value has been checked: the program ends, stays within packet and scratch memory, and the
/// interpreter cannot trap on it.
package struct Program: Equatable, Sendable {
    package let instructions: [Instruction]
    /// The reason for each instruction, for people; empty for programs that others wrote.
    package let notes: [String]

    /// The most instructions that the kernel takes: `BPF_MAXINSNS`.
    ///
    /// A longer program can run in user space only.
    package static let kernelInstructionCountMax = 4096

    /// The program that keeps every packet whole.
    package static let keepAll = Self(
        unchecked: [Instruction(.keep, UInt32.max)], notes: ["everything"])

    /// The program that drops every packet.
    package static let keepNothing = Self(
        unchecked: [Instruction(.keep, 0)], notes: ["nothing"])

    /// Takes a program from outside, for example from a client.
    ///
    /// - Throws: `Failure`, if the kernel's own check would refuse it.
    package init(checking instructions: [Instruction]) throws(Failure) {
        try Self.check(instructions)
        self.init(unchecked: instructions, notes: [])
    }

    init(unchecked instructions: [Instruction], notes: [String]) {
        self.instructions = instructions
        self.notes = notes
    }

    /// Returns the program with a limit on the number of bytes that it keeps.
    package func truncating(to byteCountMax: UInt32) -> Self {
        mappingAmounts { min($0, byteCountMax) }
    }

    /// Returns the program with another number of bytes wherever it keeps any.
    package func keeping(_ byteCount: UInt32) -> Self {
        mappingAmounts { $0 > 0 ? byteCount : 0 }
    }

    /// The number of bytes that it keeps of all packets that it keeps; nil if that differs.
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

    /// Returns the program that keeps what both keep, and as much of it as the other one does.
    ///
    /// It can be longer than the kernel takes.
    package func followed(by other: Self) -> Self {
        let count = instructions.count
        let first = instructions.enumerated().map { index, step in
            // Whatever is kept goes on behind the last instruction.
            step.opcode == .keep && step.operand > 0
                ? Instruction(.jump, UInt32(count - index - 1)) : step
        }
        // The other one relies on registers that are zero.
        let between = [Instruction(.loadConstant, 0), Instruction(.copyToX)]
        let notes =
            self.notes + Array(repeating: "", count: max(0, count - self.notes.count))
            + ["the next filter", "the next filter"] + other.notes
        return Self(unchecked: first + between + other.instructions, notes: notes)
    }
}
