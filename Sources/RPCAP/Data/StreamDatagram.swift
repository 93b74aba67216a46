/// The head of a udpstr datagram: a part of a stream of packets, as ExtraHop's daemons send it.
///
/// Eight bytes in network byte order: version 0, the type, the offset in the datagram at which the
/// first packet begins, and the datagram's number in the stream.
package enum StreamDatagram {
    /// The type that tells such a datagram from a PACKET message.
    package static let type: UInt8 = 110
    static let headByteCount = 8
    /// The offset in a datagram in which no packet begins.
    static let noFirst: UInt16 = 0xffff
}
