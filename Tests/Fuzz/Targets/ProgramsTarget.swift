import Addressing
import BPF
import Collector

/// A filter from a peer, and a packet: what the check lets pass ends, and stays inside.
///
/// The first byte is the number of instructions; each has seven bytes: its opcode, where it jumps,
/// and its operand. What is left is the packet. The interpreter traps on a step out of bounds, and
/// a program that does not end is found by the time that it takes.
enum ProgramsTarget {
    static let target = FuzzTarget(
        "programs", "BPF programs: the check, the interpreter, listings, tcpdump's form",
        byteCountMax: 4096, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        var steps: [Instruction] = []
        for _ in 0..<input.byte() {
            let (code, ifTrue, ifFalse) = (input.byte(), input.byte(), input.byte())
            steps.append(
                Instruction(opcode(code), input.number(), ifTrue: ifTrue, ifFalse: ifFalse))
        }
        let packet = input.rest()
        let program: Program
        do throws(Program.Failure) {
            program = try Program(checking: steps)
        } catch {
            try require(isPrintable(error.description), "refused with \(error)")
            return
        }
        try checkRunning(program, packet)
        try checkText(program)
    }

    /// The opcodes that are known, so that most bytes mean one; and some that are not.
    private static func opcode(_ code: UInt8) -> Opcode {
        let plain: [Opcode] = [
            .loadWord, .loadHalf, .loadByte, .loadWordPastX, .loadHalfPastX, .loadBytePastX,
            .loadLength, .loadConstant, .loadScratch, .loadConstantToX, .loadScratchToX,
            .loadLengthToX, .loadHeaderLengthToX, .storeScratch, .storeScratchFromX, .negate,
            .jump, .keep, .keepA, .copyToX, .copyFromX, .add, .subtract, .multiply, .divide, .or,
            .and, .shiftLeft, .shiftRight, .modulo, .xor, .jumpIfEqual, .jumpIfGreater,
            .jumpIfAtLeast, .jumpIfAny,
        ]
        guard code < 192 else { return Opcode(rawValue: UInt16(code & 63) << 3 | 7) }
        let opcode = plain[Int(code & 63) % plain.count]
        return code & 64 == 0 ? opcode : opcode.withX
    }

    private static func checkRunning(_ program: Program, _ packet: [UInt8]) throws(BrokenLaw) {
        var ancillary = Ancillary()
        ancillary.packetType = Ancillary.outgoing
        ancillary.vlanTag = 7
        ancillary.wireByteCount = UInt32(packet.count) + 9
        for ancillary in [Ancillary(), ancillary] {
            let kept = program.run(on: packet.wire, ancillary)
            try require(kept == program.run(on: packet.wire, ancillary), "another run, other bytes")
            let isComputed = program.instructions.contains { $0.opcode == .keepA }
            let cut = program.truncating(to: 64).run(on: packet.wire, ancillary)
            let other = program.keeping(64).run(on: packet.wire, ancillary)
            try require(
                isComputed || cut == min(kept, 64) && other == (kept > 0 ? 64 : 0),
                "keeps \(kept), cut to 64 \(cut), with another number \(other)")
            if let amount = program.keptByteCount {
                try require(kept == 0 || kept == amount, "keeps \(kept), not \(amount)")
            }
        }
    }

    private static func checkText(_ program: Program) throws(BrokenLaw) {
        try require(
            program.listing.count == program.instructions.count
                && program.listing.allSatisfy { isPrintable($0.instruction + $0.note) },
            "a listing of \(program.listing.count) lines")
        let lines = program.instructions.map {
            "\($0.opcode.rawValue) \($0.ifTrue) \($0.ifFalse) \($0.operand)"
        }
        let text = (["\(lines.count)"] + lines).joined(separator: "\n")
        let again: Program
        do throws(TcpdumpFilter.Failure) {
            again = try TcpdumpFilter.program(text)
        } catch {
            throw BrokenLaw(description: "tcpdump's form is refused: \(error)")
        }
        try require(again.instructions == program.instructions, "another program from \(text)")
    }
}
