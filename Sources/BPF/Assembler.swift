/// Code written from its last instruction to its first.
///
/// BPF jumps only forward. Written backward, every target stands before the jump that needs it, so
/// a jump is the difference of two heights and nothing is patched afterwards. Where a target is too
/// far for the eight bits of a conditional jump, a plain jump is put in between.
package struct Assembler {
    private var steps: [Instruction] = []
    private var notes: [String] = []

    /// A point in the code: how many instructions lie from it to the end.
    package struct Height: Equatable, Sendable {
        fileprivate let value: Int
    }

    package init() {}

    package var top: Height { Height(value: steps.count) }

    package var instructionCount: Int { steps.count }

    private func distance(to target: Height) -> Int { steps.count - target.value }

    /// The program as it stands, first instruction first. Every jump in it is one of ours.
    package func program() -> Program {
        Program(unchecked: steps.reversed(), notes: notes.reversed())
    }

    @discardableResult
    package mutating func prepend(_ instruction: Instruction, _ note: String = "") -> Height {
        steps.append(instruction)
        notes.append(note)
        return top
    }

    /// Puts a whole program here; its own jumps stay inside it.
    ///
    /// The kernel clears both registers before a program; what runs before this one does not, so
    /// it is done here.
    package mutating func prepend(_ program: Program, _ note: String) -> Height {
        for step in program.instructions.reversed() { prepend(step, note) }
        prepend(Instruction(.copyToX), note)
        return prepend(Instruction(.loadConstant, 0), note)
    }

    /// Compares the accumulator and goes on to one of two points.
    @discardableResult
    package mutating func jump(
        _ opcode: Opcode, _ operand: UInt32 = 0, then yes: Height, else no: Height,
        _ note: String = ""
    ) -> Height {
        if yes == no { return goOn(to: yes) }
        // Making the second landing may lift the top by one, so both come before either distance.
        let (yes, no) = (landing(for: yes), landing(for: no))
        return prepend(
            Instruction(
                opcode, operand, ifTrue: UInt8(distance(to: yes)), ifFalse: UInt8(distance(to: no))
            ), note)
    }

    /// Makes what is prepended next go on to this point, if it does not already.
    @discardableResult
    package mutating func goOn(to target: Height) -> Height {
        distance(to: target) == 0
            ? target : prepend(Instruction(.jump, UInt32(distance(to: target))))
    }

    /// The target itself, or a plain jump to it if it is too far for the eight bits of a test. One
    /// more landing can follow this one, so the last two steps are kept in reserve.
    private mutating func landing(for target: Height) -> Height {
        if distance(to: target) < Int(UInt8.max) { return target }
        return prepend(Instruction(.jump, UInt32(distance(to: target))))
    }
}
