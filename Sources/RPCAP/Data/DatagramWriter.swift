import Addressing

/// A writer that cuts the stream of a capture's packets into datagrams.
///
/// The stream is what TCP carries as it is: PACKET messages back to back, each a message header, a
/// packet header and a frame. The writer reads the front of it and says how many bytes it has
/// consumed. It remembers how much of a packet it has begun is left.
package struct DatagramWriter: Sendable {
    /// How packets are laid out in datagrams.
    package enum Format: Sendable {
        /// One PACKET message in each datagram, as libpcap's clients expect it.
        case packet
        /// Packets back to back in numbered datagrams that fill the route's MTU, as ExtraHop's
        /// sensors expect it.
        case udpstr
    }

    /// The outcome of one call.
    package struct Written: Equatable, Sendable {
        /// The number of bytes of the stream that were consumed.
        package let consumedByteCount: Int
        /// The length of the datagram.
        package let byteCount: Int
    }

    package let format: Format
    /// The longest datagram.
    package private(set) var byteCountMax: Int
    private var sequence: UInt32 = 0
    /// The bytes that are left of a packet that has been begun.
    private var restByteCount = 0

    /// The most that UDP over IPv4 carries: 65,535 less 20 for IP's header and 8 for its own.
    package static let payloadByteCountMax = 65_507
    /// The longest frame that fits into such a datagram with both its headers.
    package static let frameByteCountMax = payloadByteCountMax - PacketRecord.headerByteCount
    /// The shortest limit: the smallest MTU of IPv4 is 68 bytes.
    package static let payloadByteCountMin = 40
    /// The most that an MTU of 1,500 bytes carries over IPv4; receivers of udpstr need not take more.
    package static let wireByteCountMax = 1472

    /// The room that a packet needs to be begun, so that its header is never split.
    private static let spareByteCount = PacketRecord.headerByteCount

    /// Creates a writer.
    ///
    /// The limit is for udpstr.
    ///
    /// A PACKET message cannot be spread over datagrams, so only UDP itself limits it.
    package init(_ format: Format, byteCountMax: Int = Self.wireByteCountMax) {
        self.format = format
        self.byteCountMax = Self.payloadByteCountMax
        limit(to: byteCountMax)
    }

    /// Limits the length of further datagrams, as far as the format allows it.
    package mutating func limit(to byteCount: Int) {
        guard format == .udpstr else { return }
        byteCountMax = min(max(byteCount, Self.payloadByteCountMin), Self.payloadByteCountMax)
    }

    /// Writes the next datagram into memory of at least `byteCountMax` bytes.
    ///
    /// - Parameters:
    ///   - stream: The packets that wait.
    ///   - datagram: Where the datagram is written to.
    ///   - isFlushing: Whether to write a datagram that is not full.
    /// - Returns: Nil if the stream is empty, or fills no datagram and is not flushed.
    package mutating func write(
        _ stream: RawSpan, into datagram: inout MutableRawSpan, isFlushing: Bool
    ) -> Written? {
        precondition(datagram.byteCount >= byteCountMax)
        guard stream.byteCount > 0 else { return nil }
        return switch format {
        case .packet: writeMessage(stream, into: &datagram)
        case .udpstr: writeStream(stream, into: &datagram, isFlushing: isFlushing)
        }
    }

    /// Writes a message.
    ///
    /// One that is too long loses the end of its frame, and keeps its length.
    private func writeMessage(
        _ stream: RawSpan, into datagram: inout MutableRawSpan
    ) -> Written {
        let wholeByteCount = Self.messageByteCount(stream, at: 0)
        let byteCount = min(wholeByteCount, byteCountMax)
        datagram.store(stream.extracting(first: byteCount), at: 0)
        if byteCount < wholeByteCount {
            PacketRecord.cut(&datagram, toFrameByteCount: byteCount - PacketRecord.headerByteCount)
        }
        return Written(consumedByteCount: wholeByteCount, byteCount: byteCount)
    }

    private mutating func writeStream(
        _ stream: RawSpan, into datagram: inout MutableRawSpan, isFlushing: Bool
    ) -> Written? {
        var offset = 0
        var byteCount = StreamDatagram.headByteCount
        var first = StreamDatagram.noFirst
        var rest = restByteCount
        while true {
            if rest == 0 {
                guard offset < stream.byteCount, byteCountMax - byteCount > Self.spareByteCount
                else { break }
                if first == StreamDatagram.noFirst { first = UInt16(byteCount) }
                rest = Self.messageByteCount(stream, at: offset) - MessageHeader.byteCount
                offset += MessageHeader.byteCount
            }
            let part = min(rest, byteCountMax - byteCount)
            datagram.store(stream.extracting(offset..<offset + part), at: byteCount)
            (offset, byteCount, rest) = (offset + part, byteCount + part, rest - part)
            if rest > 0 { break }
        }
        let isFull = rest > 0 || byteCountMax - byteCount <= Self.spareByteCount
        guard isFull || isFlushing else { return nil }
        storeHead(first: first, in: &datagram)
        sequence &+= 1
        restByteCount = rest
        return Written(consumedByteCount: offset, byteCount: byteCount)
    }

    private func storeHead(first: UInt16, in datagram: inout MutableRawSpan) {
        let word = UInt32(StreamDatagram.type) << 16 | UInt32(first)
        PacketRecord.store(word, at: 0, in: &datagram)
        PacketRecord.store(sequence, at: 4, in: &datagram)
    }

    private static func messageByteCount(_ stream: RawSpan, at offset: Int) -> Int {
        MessageHeader.byteCount + Int(stream.uint32(at: offset + 4))
    }
}
