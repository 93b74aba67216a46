/// An assembler for BPF programs, which are written in the order in which they run.
///
/// The methods are named as in bpf_asm(8): `ld`, `jeq`, `ret` and so on. Targets are labels, made
/// before they are used and placed before the instruction that they name. BPF jumps only forward,
/// so a label is placed after the last jump to it. If a target is too far for the eight bits of a
/// conditional jump, the assembler puts an unconditional one in between.
package struct Assembler {
    private var items: [Item] = []
    private var labelCount = 0

    /// A target of jumps.
    package struct Label: Hashable, Sendable {
        fileprivate let number: Int

        /// The code that follows: a test falls through to it.
        package static let next = Self(number: -1)
    }

    private enum Item {
        case instruction(Instruction, note: String)
        case test(Opcode, UInt32, then: Label, else: Label, note: String)
        case jump(Label)
        case label(Label)
    }

    package init() {}

    /// Makes a label; `place` says what it names.
    package mutating func makeLabel() -> Label {
        labelCount += 1
        return Label(number: labelCount)
    }

    /// Places a label: it names what is written next.
    package mutating func place(_ label: Label) { items.append(.label(label)) }

    /// Goes on at a label; nothing is emitted if that follows anyway.
    package mutating func ja(_ label: Label) { items.append(.jump(label)) }

    /// Writes an instruction that is no jump, with the reason for which it is there.
    package mutating func emit(_ instruction: Instruction, _ note: String = "") {
        items.append(.instruction(instruction, note: note))
    }

    /// Writes a whole program, which has to end by itself.
    ///
    /// The kernel clears both registers before it runs a program; the code before this one does
    /// not, so that is done here.
    package mutating func emit(_ program: Program, _ note: String) {
        emit(Instruction(.loadConstant, 0), note)
        emit(Instruction(.copyToX), note)
        for instruction in program.instructions { emit(instruction, note) }
    }

    /// Writes a conditional jump to one of two labels.
    package mutating func test(
        _ opcode: Opcode, _ operand: UInt32, then yes: Label, else no: Label, _ note: String
    ) {
        items.append(.test(opcode, operand, then: yes, else: no, note: note))
    }

    /// Returns the program, with all labels resolved.
    package func program() -> Program {
        var output = Output()
        for item in items.reversed() {
            switch item {
            case .instruction(let instruction, let note): output.prepend(instruction, note)
            case .test(let opcode, let operand, let yes, let no, let note):
                output.prepend(opcode, operand, then: yes, else: no, note)
            case .jump(let label): output.go(to: label)
            case .label(let label): output.define(label)
            }
        }
        return output.program()
    }
}

/// The instructions with their jumps resolved, collected from the last one to the first.
///
/// A position is the number of instructions from a point to the end. Seen from the end, all targets
/// of a jump are known when it is reached, so its distance is a difference of two positions.
private struct Output {
    private var steps: [Instruction] = []
    private var notes: [String] = []
    private var positions: [Assembler.Label: Int] = [:]
    /// The position at which the code that is prepended next goes on.
    private var following = 0

    mutating func define(_ label: Assembler.Label) {
        let known = positions.updateValue(following, forKey: label)
        precondition(known == nil, "a label is placed twice")
    }

    mutating func go(to label: Assembler.Label) { following = position(of: label) }

    mutating func prepend(_ instruction: Instruction, _ note: String) {
        // Not all instructions fall through.
        if instruction.opcode.group != Opcode.keep.group, following != steps.count {
            jump(to: following)
        }
        append(instruction, note)
    }

    mutating func prepend(
        _ opcode: Opcode, _ operand: UInt32, then yes: Assembler.Label, else no: Assembler.Label,
        _ note: String
    ) {
        var (yes, no) = (position(of: yes), position(of: no))
        if yes == no {
            following = yes
            return
        }
        // Making the second landing may move the first one away by one, so both come before either
        // distance.
        yes = landing(for: yes)
        no = landing(for: no)
        append(
            Instruction(
                opcode, operand, ifTrue: UInt8(steps.count - yes), ifFalse: UInt8(steps.count - no)
            ), note)
    }

    private func position(of label: Assembler.Label) -> Int {
        if label == .next { return following }
        guard let position = positions[label] else {
            preconditionFailure("a label is not placed behind the jump to it")
        }
        return position
    }

    /// Returns the target, or a jump to it if it is too far for a test's eight bits.
    ///
    /// Another landing can follow this one, so the last two steps are kept in reserve.
    private mutating func landing(for target: Int) -> Int {
        if steps.count - target < Int(UInt8.max) { return target }
        jump(to: target)
        return steps.count
    }

    private mutating func jump(to target: Int) {
        append(Instruction(.jump, UInt32(steps.count - target)), "")
    }

    private mutating func append(_ instruction: Instruction, _ note: String) {
        steps.append(instruction)
        notes.append(note)
        following = steps.count
    }

    func program() -> Program {
        precondition(following == steps.count && steps.first?.opcode.group == Opcode.keep.group)
        return Program(unchecked: steps.reversed(), notes: notes.reversed())
    }
}
