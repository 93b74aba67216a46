import Addressing

/// Turns the stream of a capture's packets into datagrams.
///
/// The stream is what goes over TCP as it is: whole PACKET messages back to back, each a message
/// header, a packet header and a frame. The writer reads the front of it and says how many bytes it
/// is done with; what it has begun and not finished it remembers.
package struct DatagramWriter: Sendable {
    package enum Format: Sendable {
        /// One PACKET message in each datagram, as libpcap's clients expect it.
        case packet
        /// Packets back to back in datagrams that fill the route's MTU, as ExtraHop's sensors expect
        /// it: each begins with where in it the first packet begins, and a number.
        case udpstr
    }

    /// What one call has come to.
    package struct Written: Equatable, Sendable {
        /// How many bytes of the stream are done with.
        package let consumedByteCount: Int
        /// How long the datagram is.
        package let byteCount: Int
    }

    package let format: Format
    /// The longest datagram.
    package private(set) var byteCountMax: Int
    private var sequence: UInt32 = 0
    /// What is left of a packet that has been begun, bytes.
    private var restByteCount = 0

    /// What UDP over IPv4 can carry: 65,535 less 20 for IP's header and 8 for its own.
    package static let payloadByteCountMax = 65_507
    /// What is kept of a frame so that it fits into such a datagram with both its headers.
    package static let frameByteCountMax = payloadByteCountMax - PacketRecord.headerByteCount
    /// The smallest MTU of IPv4 is 68 bytes.
    package static let payloadByteCountMin = 40
    /// What a wire of 1,500 bytes carries over IPv4: receivers of udpstr need not take more.
    package static let wireByteCountMax = 1472

    private static let headByteCount = 8
    private static let kind: UInt8 = 0x6e
    /// Where no packet begins in a datagram.
    private static let beginsNowhere: UInt16 = 0xffff
    /// A packet is begun only if there is more room than this, so that its header is never split.
    private static let spareByteCount = PacketRecord.headerByteCount

    /// The limit is for udpstr; a PACKET message cannot be spread over datagrams, so only UDP itself
    /// limits it.
    package init(_ format: Format, byteCountMax: Int = Self.wireByteCountMax) {
        self.format = format
        self.byteCountMax = Self.payloadByteCountMax
        limit(to: byteCountMax)
    }

    /// Has all further datagrams be no longer than this, as far as the format allows it.
    package mutating func limit(to byteCount: Int) {
        guard format == .udpstr else { return }
        byteCountMax = min(max(byteCount, Self.payloadByteCountMin), Self.payloadByteCountMax)
    }

    /// Writes the next datagram into memory of at least `byteCountMax` bytes. Nil if the stream has
    /// not enough for a full one and need not be flushed, or is empty.
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

    /// A message that is too long loses the end of its frame, and keeps the frame's length.
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
        var byteCount = Self.headByteCount
        var first = Self.beginsNowhere
        var rest = restByteCount
        while true {
            if rest == 0 {
                guard offset < stream.byteCount, byteCountMax - byteCount > Self.spareByteCount
                else { break }
                if first == Self.beginsNowhere { first = UInt16(byteCount) }
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
        let word = UInt32(Self.kind) << 16 | UInt32(first)
        PacketRecord.store(word, at: 0, in: &datagram)
        PacketRecord.store(sequence, at: 4, in: &datagram)
    }

    private static func messageByteCount(_ stream: RawSpan, at offset: Int) -> Int {
        MessageHeader.byteCount + Int(stream.uint32(at: offset + 4))
    }
}
