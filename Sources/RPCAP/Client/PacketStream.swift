import Addressing

/// Cuts the bytes of a data connection into packets, and trusts none of the lengths in them.
package struct PacketStream: Sendable {
    private var buffer: [UInt8] = []
    private var start = 0
    private let snaplen: Int

    /// Takes packets of at most as many bytes as the capture was asked to keep of each.
    package init(snaplen: Int) {
        self.snaplen = snaplen
    }

    package mutating func append(_ bytes: ArraySlice<UInt8>) {
        if start == buffer.count {
            buffer.removeAll(keepingCapacity: true)
            start = 0
        } else if start > Self.compactionByteCount {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes
    }

    /// Moving what is left costs little when it happens once in so many bytes.
    private static let compactionByteCount = 1 << 20

    /// The next packet, or nil until more arrives. Calls `body` with its header and its frame, which
    /// is lent for the call. After an error the stream has no meaning any more.
    package mutating func next(
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(ProtocolFailure) -> Bool {
        guard let byteCount = try read(body) else { return false }
        start += byteCount
        return true
    }

    /// Answers how many bytes the packet took.
    private func read(
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(ProtocolFailure) -> Int? {
        guard buffer.count - start >= PacketRecord.headerByteCount else { return nil }
        let bytes = buffer.wire.extracting(start..<buffer.count)
        let header = MessageHeader(bytes)
        guard header.version == 0 else { throw .wrongVersion(header.version) }
        guard header.type == MessageType.packet.rawValue else {
            throw .unexpected(type: header.type)
        }
        let payloadByteCountMax = PacketRecord.packetHeaderByteCount + snaplen
        let payloadByteCount = Int(header.payloadByteCount)
        guard payloadByteCount <= payloadByteCountMax else {
            throw .tooLong(byteCount: payloadByteCount, byteCountMax: payloadByteCountMax)
        }
        let record = PacketRecord(
            packetHeader: bytes.extracting(MessageHeader.byteCount..<PacketRecord.headerByteCount))
        guard PacketRecord.packetHeaderByteCount + record.byteCount <= payloadByteCount else {
            throw .malformed("a packet of \(record.byteCount) bytes in \(payloadByteCount)")
        }
        guard record.microseconds < 1_000_000 else {
            throw .malformed("a packet with \(record.microseconds) microseconds")
        }
        let end = MessageHeader.byteCount + payloadByteCount
        guard bytes.byteCount >= end else { return nil }
        let frame = PacketRecord.headerByteCount
        body(record, bytes.extracting(frame..<frame + record.byteCount))
        return end
    }
}
