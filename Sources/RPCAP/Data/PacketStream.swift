import Addressing

/// A reader of packets on a data connection that trusts none of the lengths in them.
package struct PacketStream: Sendable {
    private var buffer: [UInt8] = []
    private var start = 0
    private let snaplen: Int

    /// Creates a reader that refuses frames longer than the capture's snap length.
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

    /// Bytes that were read are removed together, so that moving the rest costs little.
    private static let compactionByteCount = 1 << 20

    /// Reads the next packet and calls `body` with its header and its frame, lent for the call.
    ///
    /// - Returns: False until more arrives.
    /// - Throws: If the bytes are no packet; the stream has no meaning after that.
    package mutating func next(
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(ProtocolFailure) -> Bool {
        guard let byteCount = try read(body) else { return false }
        start += byteCount
        return true
    }

    /// Reads the packet at the front.
    ///
    /// - Returns: The number of bytes that it takes, or nil if it is not complete.
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
            throw .malformed(
                "a packet with the length \(record.byteCount) in \(payloadByteCount) bytes")
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
