import Addressing
package import BPF

/// A filter as start and update requests carry it: classic BPF instructions behind a head.
package enum Filter {
    /// The only kind there is: a program for the classic BPF machine.
    private static let kind: UInt16 = 1
    static let headByteCount = 8
    static let instructionByteCount = 8

    /// The filter's bytes in a message.
    package static func encode(_ instructions: [Instruction]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: kind)
        bytes.append(bigEndian: UInt16(0))
        bytes.append(bigEndian: UInt32(instructions.count))
        for step in instructions {
            bytes.append(bigEndian: step.opcode.rawValue)
            bytes += [step.ifTrue, step.ifFalse]
            bytes.append(bigEndian: step.operand)
        }
        return bytes
    }

    /// The instructions of a filter from a peer.
    ///
    /// Whether they are a valid program is not checked.
    static func decode(_ payload: RawSpan) throws(ProtocolFailure) -> [Instruction] {
        guard payload.byteCount >= headByteCount else { throw .tooShort("filter") }
        guard payload.uint16(at: 0) == kind else {
            throw .malformed("a filter of a kind other than BPF")
        }
        let count = Int(payload.uint32(at: 4))
        guard count > 0 else { throw .malformed("a filter without instructions") }
        guard count <= Program.instructionCountMax else {
            throw .malformed(
                "a filter of \(count) instructions, the most is \(Program.instructionCountMax)")
        }
        guard payload.byteCount >= headByteCount + count * instructionByteCount else {
            throw .tooShort("filter")
        }
        return (0..<count).map { index in
            instruction(payload, at: headByteCount + index * instructionByteCount)
        }
    }

    private static func instruction(_ bytes: RawSpan, at offset: Int) -> Instruction {
        Instruction(
            Opcode(rawValue: bytes.uint16(at: offset)), bytes.uint32(at: offset + 4),
            ifTrue: bytes.uint8(at: offset + 2), ifFalse: bytes.uint8(at: offset + 3))
    }
}
