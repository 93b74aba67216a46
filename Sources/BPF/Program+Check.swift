extension Program {
    /// The reason for which a program is refused.
    ///
    /// An index counts instructions from 0.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case empty
        case tooLong(instructionCount: Int)
        case unknownOpcode(UInt16, index: Int)
        case jumpsOut(index: Int)
        case dividesByZero(index: Int)
        case shiftsTooFar(index: Int)
        case scratchOutOfRange(index: Int)
        case doesNotEnd

        package var description: String {
            switch self {
            case .empty: "the program has no instructions"
            case .tooLong(let count):
                "the program has \(count) instructions; the limit is \(instructionCountMax)"
            case .unknownOpcode(let code, let index):
                "instruction \(index): 0x\(String(code, radix: 16)) is not an opcode"
            case .jumpsOut(let index): "instruction \(index): jumps past the end"
            case .dividesByZero(let index): "instruction \(index): divides by zero"
            case .shiftsTooFar(let index): "instruction \(index): shifts by 32 bits or more"
            case .scratchOutOfRange(let index):
                "instruction \(index): scratch memory has only \(scratchWordCount) words"
            case .doesNotEnd: "the last instruction does not end the program"
            }
        }
    }

    /// The most instructions that are taken from a peer, as the reference daemon does.
    package static let instructionCountMax = 8192
    static let scratchWordCount = 16

    /// Checks what the kernel's `bpf_check_classic` checks.
    ///
    /// A program that passes never jumps past its end, leaves scratch memory, divides by a constant
    /// zero or shifts too far, whatever the packet.
    static func check(_ instructions: [Instruction]) throws(Failure) {
        guard let last = instructions.last else { throw .empty }
        guard instructions.count <= instructionCountMax else {
            throw .tooLong(instructionCount: instructions.count)
        }
        for (index, step) in instructions.enumerated() {
            guard Opcode.known.contains(step.opcode) else {
                throw .unknownOpcode(step.opcode.rawValue, index: index)
            }
            try check(step, at: index, following: instructions.count - index - 1)
        }
        guard last.opcode == .keep || last.opcode == .keepA else { throw .doesNotEnd }
    }

    private static func check(
        _ step: Instruction, at index: Int, following count: Int
    ) throws(Failure) {
        switch step.opcode {
        case .jump:
            guard Int(step.operand) < count else { throw .jumpsOut(index: index) }
        case .divide, .modulo:
            guard step.operand != 0 else { throw .dividesByZero(index: index) }
        case .shiftLeft, .shiftRight:
            guard step.operand < 32 else { throw .shiftsTooFar(index: index) }
        case .loadScratch, .loadScratchToX, .storeScratch, .storeScratchFromX:
            guard step.operand < UInt32(scratchWordCount) else {
                throw .scratchOutOfRange(index: index)
            }
        case let opcode where Opcode.conditionalJumps.contains(opcode.withConstant):
            guard Int(max(step.ifTrue, step.ifFalse)) < count else {
                throw .jumpsOut(index: index)
            }
        default:
            break
        }
    }
}
