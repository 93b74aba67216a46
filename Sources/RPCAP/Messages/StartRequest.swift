import Addressing
package import BPF

/// A request to start a capture.
package struct StartRequest: Equatable, Sendable {
    /// The name in the OPEN before it; it is no part of the message.
    package var device = ""
    /// The most bytes to keep of each packet, 1 to 262,144.
    package var snaplen: Int
    package var readTimeoutMilliseconds: UInt32
    package var flags: Flags
    /// The client's port that the server sends or connects to.
    package var dataPort: UInt16
    package var filter: [Instruction]
    /// The sampling in the last SETSAMPLING; it is no part of the message.
    package var sampling = Sampling.none

    /// How the packets are to come, and which.
    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }

        package static let promiscuous = Self(rawValue: 1)
        package static let udp = Self(rawValue: 2)
        package static let serverOpens = Self(rawValue: 4)
        package static let inboundOnly = Self(rawValue: 8)
        package static let outboundOnly = Self(rawValue: 16)
    }

    /// The largest value; 0, a negative and a larger one mean this one.
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
