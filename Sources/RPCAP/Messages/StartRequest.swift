package import BPF

import Addressing

/// What a client asks for when it starts a capture.
package struct StartRequest: Equatable, Sendable {
    /// The name that OPEN has named.
    package var device = ""
    /// Bytes per packet at most, 1 to 262,144.
    package var snaplen: Int
    package var readTimeoutMilliseconds: UInt32
    package var flags: Flags
    /// The client's port for data that the server sends or connects to.
    package var dataPort: UInt16
    package var filter: [Instruction]
    /// What SETSAMPLING has asked for; it is not part of the message.
    package var sampling = Sampling.none

    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }

        package static let promiscuous = Self(rawValue: 1)
        package static let udp = Self(rawValue: 2)
        package static let serverOpens = Self(rawValue: 4)
        package static let inboundOnly = Self(rawValue: 8)
        package static let outboundOnly = Self(rawValue: 16)
    }

    /// 0, a negative and a larger value all mean this one.
    package static let snaplenMax = 262_144
    static let fixedByteCount = 12

    package init(
        snaplen: Int, readTimeoutMilliseconds: UInt32 = 500, flags: Flags, dataPort: UInt16,
        filter: [Instruction]
    ) {
        self.snaplen = snaplen
        self.readTimeoutMilliseconds = readTimeoutMilliseconds
        self.flags = flags
        self.dataPort = dataPort
        self.filter = filter
    }

    init(_ payload: RawSpan) throws(ProtocolFailure) {
        guard payload.byteCount >= Self.fixedByteCount else { throw .tooShort("start request") }
        let asked = Int32(bitPattern: payload.uint32(at: 0))
        snaplen = (1...Self.snaplenMax).contains(Int(asked)) ? Int(asked) : Self.snaplenMax
        readTimeoutMilliseconds = payload.uint32(at: 4)
        flags = Flags(rawValue: payload.uint16(at: 8))
        dataPort = payload.uint16(at: 10)
        filter = try Filter.decode(payload.extracting(last: payload.byteCount - 12))
    }

    package var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: UInt32(truncatingIfNeeded: snaplen))
        bytes.append(bigEndian: readTimeoutMilliseconds)
        bytes.append(bigEndian: flags.rawValue)
        bytes.append(bigEndian: dataPort)
        return bytes + Filter.encode(filter)
    }
}

/// A filter as start and update requests carry it.
package enum Filter {
    /// The one kind there is: a program for the classic BPF machine.
    private static let kind: UInt16 = 1
    static let headByteCount = 8

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
        guard payload.byteCount >= headByteCount + count * 8 else { throw .tooShort("filter") }
        return (0..<count).map { index in
            instruction(payload, at: headByteCount + index * 8)
        }
    }

    static func instruction(_ bytes: RawSpan, at offset: Int) -> Instruction {
        Instruction(
            Opcode(rawValue: bytes.uint16(at: offset)), bytes.uint32(at: offset + 4),
            ifTrue: bytes.uint8(at: offset + 2), ifFalse: bytes.uint8(at: offset + 3))
    }
}
