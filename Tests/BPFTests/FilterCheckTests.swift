import BPF
import CLinux
import FuzzSupport
import Glibc
import Linux
import ObservationFixtures
import Testing

/// The check of clients' filters, compared with the kernel's own.
///
/// Any socket can have a filter, so this needs no privilege.
@Suite("The check of a filter")
struct FilterCheckTests {
    private typealias Step = Instruction

    /// Filters with what is wrong about them; nil for nothing.
    static let rows: [(name: String, steps: [Instruction], failure: Program.Failure?)] = [
        ("nothing", [], .empty),
        ("all", [Step(.keep, 1)], nil),
        (
            "an opcode that is none", [Step(Opcode(rawValue: 0xffff)), Step(.keep)],
            .unknownOpcode(0xffff, index: 0)
        ),
        ("no end", [Step(.loadConstant, 1)], .doesNotEnd),
        ("a jump behind the end", [Step(.jump, 1), Step(.keep)], .jumpsOut(index: 0)),
        ("a jump of 4 billion", [Step(.jump, .max), Step(.keep)], .jumpsOut(index: 0)),
        (
            "a branch behind the end", [Step(.jumpIfEqual, 0, ifTrue: 1), Step(.keep)],
            .jumpsOut(index: 0)
        ),
        (
            "another branch behind the end", [Step(.jumpIfEqual, 0, ifFalse: 255), Step(.keep)],
            .jumpsOut(index: 0)
        ),
        ("a division by zero", [Step(.divide, 0), Step(.keepA)], .dividesByZero(index: 0)),
        ("a rest of zero", [Step(.modulo, 0), Step(.keepA)], .dividesByZero(index: 0)),
        ("a shift by 32", [Step(.shiftLeft, 32), Step(.keepA)], .shiftsTooFar(index: 0)),
        ("the 17th word", [Step(.storeScratch, 16), Step(.keep)], .scratchOutOfRange(index: 0)),
        (
            "the 17th word to X", [Step(.loadScratchToX, 16), Step(.keep)],
            .scratchOutOfRange(index: 0)
        ),
        ("the 16th word", [Step(.storeScratch, 15), Step(.loadScratch, 15), Step(.keepA)], nil),
        (
            "8,193 steps", [Step](repeating: Step(.keep), count: 8193),
            .tooLong(instructionCount: 8193)
        ),
    ]

    @Test("says what is wrong, as the kernel does", arguments: 0..<rows.count)
    func table(row: Int) throws {
        let (_, steps, failure) = Self.rows[row]
        if let failure {
            #expect(throws: failure) { try Program(checking: steps) }
        } else {
            #expect(try Program(checking: steps).isForKernel)
        }
        #expect(try Self.isTakenByKernel(steps) == (failure == nil))
    }

    @Test("lets in what the kernel lets in, and knows what only user space runs")
    func random() throws {
        var generator = RandomNumbers(5)
        var counts = (refused: 0, forKernel: 0, forUserSpace: 0)
        for round in 0..<20_000 {
            let steps = Self.steps(with: &generator)
            let program = try? Program(checking: steps)
            let isTaken = try Self.isTakenByKernel(steps)
            guard isTaken == (program?.isForKernel ?? false) else {
                Issue.record("round \(round): the kernel \(isTaken ? "takes" : "refuses") \(steps)")
                return
            }
            if let program {
                if program.isForKernel { counts.forKernel += 1 } else { counts.forUserSpace += 1 }
            } else {
                counts.refused += 1
            }
        }
        #expect(min(counts.refused, counts.forKernel, counts.forUserSpace) > 500, "\(counts)")
    }

    /// Steps that are hardly ever wrong by themselves, but often together.
    private static func steps(with generator: inout RandomNumbers) -> [Instruction] {
        let opcodes: [Opcode] = [
            .loadWord, .loadHalf, .loadByte, .loadConstant, .loadScratch, .loadScratchToX,
            .storeScratch, .storeScratchFromX, .add, .divide, .shiftRight, .jump, .jumpIfEqual,
            .jumpIfAny, .keep, .copyToX, .loadHeaderLengthToX, .loadLength,
        ]
        let count = Int.random(in: 1...12, using: &generator)
        var steps = (0..<count).map { index in
            let opcode = opcodes.randomElement(using: &generator) ?? .keep
            let isLoad = [.loadWord, .loadHalf, .loadByte].contains(opcode)
            let isAncillary = isLoad && Int.random(in: 0...2, using: &generator) == 0
            let limit = UInt32(opcode == .jump ? count - index : 3)
            return Instruction(
                opcode,
                isAncillary
                    ? Ancillary.base + .random(in: 0...70, using: &generator)
                    : .random(in: 0...limit, using: &generator),
                ifTrue: .random(in: 0...UInt8(count - index), using: &generator),
                ifFalse: .random(in: 0...UInt8(count - index), using: &generator))
        }
        if Int.random(in: 0...9, using: &generator) > 0 { steps.append(Instruction(.keepA)) }
        return steps
    }

    private static func isTakenByKernel(_ steps: [Instruction]) throws -> Bool {
        let socket = try Descriptor("socket") {
            Glibc.socket(AF_INET, CInt(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        }
        var filters = steps.map {
            sock_filter(
                code: $0.opcode.rawValue, jt: $0.ifTrue, jf: $0.ifFalse, k: $0.operand)
        }
        // Safety: the kernel copies the program during the call.
        return unsafe filters.withUnsafeMutableBufferPointer { buffer in
            var program = unsafe sock_fprog(len: UInt16(buffer.count), filter: buffer.baseAddress)
            return unsafe setsockopt(
                socket.fileDescriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                socklen_t(MemoryLayout<sock_fprog>.size)) == 0
        }
    }
}
