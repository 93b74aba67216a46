import Frames

/// Cuts a stream of bytes into messages, however they arrive, and holds no more than one message
/// that is not complete.
struct MessageReader {
    private var buffer: [UInt8] = []
    private var start = 0
    /// How many messages have been taken.
    private(set) var messageCount = 0
    private let payloadByteCountMax: Int

    init(payloadByteCountMax: Int) {
        self.payloadByteCountMax = payloadByteCountMax
    }

    /// Bytes that have arrived and belong to no message that has been taken.
    var byteCount: Int { buffer.count - start }

    mutating func append(_ bytes: ArraySlice<UInt8>) {
        if start > 0, start == buffer.count || start >= payloadByteCountMax {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes
    }

    /// The header of the next message, if it has arrived. Throws if the message is of another
    /// version, or longer than any that is meant to be.
    func header() throws(ProtocolFailure) -> MessageHeader? {
        guard byteCount >= MessageHeader.byteCount else { return nil }
        let header = MessageHeader(buffer.wire.extracting(start..<start + MessageHeader.byteCount))
        guard header.version == 0 else { throw .wrongVersion(header.version) }
        guard header.payloadByteCount <= UInt32(payloadByteCountMax) else {
            throw .tooLong(
                byteCount: Int(header.payloadByteCount), byteCountMax: payloadByteCountMax)
        }
        return header
    }

    /// Bytes behind the header of the next message, if that many have arrived.
    func peek(_ range: Range<Int>) -> [UInt8]? {
        let offset = start + MessageHeader.byteCount
        guard offset + range.upperBound <= buffer.count else { return nil }
        return Array(buffer[offset + range.lowerBound..<offset + range.upperBound])
    }

    /// The payload of the next message, which is then taken, if all of it has arrived.
    mutating func takePayload(byteCount: Int) -> [UInt8]? {
        guard let payload = peek(0..<byteCount) else { return nil }
        start += MessageHeader.byteCount + byteCount
        messageCount += 1
        return payload
    }
}
