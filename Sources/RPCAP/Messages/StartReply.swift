import Addressing

/// The reply to a start request.
package struct StartReply: Equatable, Sendable {
    /// The size that the client's receive buffer should have; 0 leaves it to the client.
    package let bufferByteCount: UInt32
    /// The port to connect to for the packets, if the client opens the data connection.
    package let dataPort: UInt16

    private static let byteCount = 8

    init(bufferByteCount: UInt32, dataPort: UInt16) {
        (self.bufferByteCount, self.dataPort) = (bufferByteCount, dataPort)
    }

    init(_ payload: [UInt8]) throws(ProtocolFailure) {
        guard payload.count >= Self.byteCount else { throw .tooShort("start reply") }
        bufferByteCount = payload.wire.uint32(at: 0)
        dataPort = payload.wire.uint16(at: 4)
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: bufferByteCount)
        bytes.append(bigEndian: dataPort)
        bytes.append(bigEndian: UInt16(0))
        return bytes
    }
}
