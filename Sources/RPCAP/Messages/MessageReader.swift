import Addressing

/// A reader that cuts a stream of bytes into messages.
///
/// It holds no more than the part of one message that is read.
struct MessageReader {
    private var buffer: [UInt8] = []
    private var start = 0
    /// The bytes of the message at the front that were thrown away, since they are not read.
    private var droppedByteCount = 0
    /// The number of messages that have been taken.
    private(set) var messageCount = 0
    private let payloadByteCountMax: Int
    private let keptByteCountMax: Int

    /// Bytes that were taken are removed together, at least this many.
    private static let compactionByteCount = 64 << 10

    /// Creates a reader of an empty stream.
    ///
    /// - Parameters:
    ///   - payloadByteCountMax: The longest payload; a message that announces more is refused.
    ///   - keptByteCountMax: The part of a payload that is kept; nil for all of it.
    init(payloadByteCountMax: Int, keptByteCountMax: Int? = nil) {
        self.payloadByteCountMax = payloadByteCountMax
        self.keptByteCountMax = keptByteCountMax ?? payloadByteCountMax
    }

    /// Bytes that have arrived, but for those of messages that have been taken.
    var byteCount: Int { buffer.count - start }

    /// The memory that the buffer takes.
    var capacity: Int { buffer.capacity }

    mutating func append(_ bytes: ArraySlice<UInt8>) {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: true)
            start = 0
        } else if start >= Self.compactionByteCount {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes
        dropExcess()
    }

    /// The first byte of the next message.
    var first: UInt8? { start < buffer.count ? buffer[start] : nil }

    /// The header of the next message, if it has arrived.
    ///
    /// - Throws: If the message is of another version, or longer than any may be.
    func header() throws(ProtocolFailure) -> MessageHeader? {
        guard let header = frontHeader else { return nil }
        guard header.version == 0 else { throw .wrongVersion(header.version) }
        guard header.payloadByteCount <= UInt32(payloadByteCountMax) else {
            throw .tooLong(
                byteCount: Int(header.payloadByteCount), byteCountMax: payloadByteCountMax)
        }
        return header
    }

    private var frontHeader: MessageHeader? {
        guard byteCount >= MessageHeader.byteCount else { return nil }
        return MessageHeader(buffer.wire.extracting(start..<start + MessageHeader.byteCount))
    }

    /// Bytes from the start of the next message, if that many have arrived.
    func peekStart(_ count: Int) -> [UInt8]? {
        start + count <= buffer.count ? Array(buffer[start..<start + count]) : nil
    }

    /// Bytes behind the header of the next message, if that many have arrived.
    func peek(_ range: Range<Int>) -> [UInt8]? {
        let offset = start + MessageHeader.byteCount
        guard offset + range.upperBound <= buffer.count else { return nil }
        return Array(buffer[offset + range.lowerBound..<offset + range.upperBound])
    }

    /// Takes the next message, if all of it has arrived.
    ///
    /// - Returns: The part of its payload that is kept.
    mutating func takePayload(byteCount: Int) -> [UInt8]? {
        let kept = min(byteCount, keptByteCountMax)
        guard droppedByteCount == byteCount - kept, let payload = peek(0..<kept) else {
            return nil
        }
        start += MessageHeader.byteCount + kept
        messageCount += 1
        droppedByteCount = 0
        dropExcess()
        return payload
    }

    /// Throws away the bytes of the message at the front that are not kept.
    private mutating func dropExcess() {
        guard let header = frontHeader else { return }
        let excess = Int(header.payloadByteCount) - keptByteCountMax - droppedByteCount
        let end = start + MessageHeader.byteCount + keptByteCountMax
        guard excess > 0, buffer.count > end else { return }
        let count = min(excess, buffer.count - end)
        buffer.removeSubrange(end..<end + count)
        droppedByteCount += count
    }
}
