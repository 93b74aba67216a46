import Addressing

/// Cuts a stream of bytes into messages, however they arrive, and holds no more than the part of one
/// message that anybody reads.
struct MessageReader {
    private var buffer: [UInt8] = []
    private var start = 0
    /// How much of the message at the front nobody reads, and has been thrown away.
    private var droppedByteCount = 0
    /// How many messages have been taken.
    private(set) var messageCount = 0
    private let payloadByteCountMax: Int
    private let keptByteCountMax: Int

    /// Taken bytes are kept until so many can be removed at once.
    private static let compactionByteCount = 64 << 10

    /// - Parameters:
    ///   - payloadByteCountMax: a message that announces more is refused.
    ///   - keptByteCountMax: what a payload has beyond this is thrown away; nil keeps all of it.
    init(payloadByteCountMax: Int, keptByteCountMax: Int? = nil) {
        self.payloadByteCountMax = payloadByteCountMax
        self.keptByteCountMax = keptByteCountMax ?? payloadByteCountMax
    }

    /// Bytes that have arrived and belong to no message that has been taken.
    var byteCount: Int { buffer.count - start }

    /// What it takes in memory.
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

    /// The byte that the next message begins with.
    var first: UInt8? { start < buffer.count ? buffer[start] : nil }

    /// The header of the next message, if it has arrived. Throws if the message is of another
    /// version, or longer than any that is meant to be.
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

    /// The payload of the next message, or what is kept of it. The message is then taken, if all of
    /// it has arrived.
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

    /// Throws away what has arrived of the message at the front and is not kept.
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
