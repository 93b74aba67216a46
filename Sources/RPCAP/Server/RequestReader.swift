import Addressing
import BPF
import Time

/// A reader of a client's requests that limits how long one may take to arrive.
///
/// It also knows two things that clients do and the protocol does not have: a TLS handshake, and a
/// start request that is longer than its header says.
struct RequestReader {
    /// A message at the front of the stream.
    enum Item: Equatable {
        case request(type: UInt8, payload: [UInt8])
        /// The handshake of TLS, with the two bytes of its version.
        case tlsHandshake(version: [UInt8])
    }

    private var reader = MessageReader(
        payloadByteCountMax: payloadByteCountMax, keptByteCountMax: keptByteCountMax)
    /// When the message began that is not complete.
    private var messageStart: MonotonicTime?

    /// More than any request needs.
    ///
    /// A peer that announces more is not understood.
    private static let payloadByteCountMax = 1 << 20
    /// The longest request is a filter of as many instructions as the kernel takes.
    static let keptByteCountMax =
        StartRequest.fixedByteCount + Filter.headByteCount + Program.instructionCountMax
        * Filter.instructionByteCount
    /// The time in which a peer has to finish a message that it has begun.
    static let messageTimeMax = Duration.seconds(10)
    /// The time in which bytes have to come that libpcap's client does not announce.
    private static let extraTimeMax = Duration.seconds(1)
    /// The first byte of a TLS record with a handshake message (RFC 8446, 5.1).
    static let tlsHandshake: UInt8 = 0x16

    /// Bytes that wait to be read.
    var byteCount: Int { reader.byteCount }

    /// The memory that the buffer takes.
    var capacity: Int { reader.capacity }

    mutating func append(_ bytes: ArraySlice<UInt8>, now: MonotonicTime) {
        if reader.byteCount == 0 { messageStart = now }
        reader.append(bytes)
    }

    /// Takes the next request, if all of it has arrived.
    mutating func next(now: MonotonicTime) throws(ProtocolFailure) -> Item? {
        guard let item = try read(now) else { return nil }
        messageStart = reader.byteCount > 0 ? now : nil
        return item
    }

    private mutating func read(_ now: MonotonicTime) throws(ProtocolFailure) -> Item? {
        if reader.first == Self.tlsHandshake, reader.messageCount == 0 {
            return reader.peekStart(3).map { .tlsHandshake(version: Array($0[1...])) }
        }
        guard let header = try reader.header() else { return nil }
        var byteCount = Int(header.payloadByteCount)
        if Self.isStartWithoutFilter(header) {
            guard let extra = extraByteCount(now) else { return nil }
            byteCount += extra
        }
        return reader.takePayload(byteCount: byteCount).map {
            .request(type: header.type, payload: $0)
        }
    }

    /// Whether a start request has the head of a filter and no room for an instruction.
    private static func isStartWithoutFilter(_ header: MessageHeader) -> Bool {
        header.type == MessageType.startCapture.rawValue
            && header.payloadByteCount == StartRequest.fixedByteCount + Filter.headByteCount
    }

    /// The number of bytes behind a start request that its header does not announce.
    ///
    /// If no filter was ever set, libpcap's client announces 20 bytes and sends 28: the last eight
    /// are the one instruction that it counted. If they do not come soon, they do not come at all.
    ///
    /// - Returns: 0 or 8, or nil until that can be told.
    private func extraByteCount(_ now: MonotonicTime) -> Int? {
        guard let head = reader.peek(12..<20) else { return nil }
        guard head[4...] == [0, 0, 0, 1] else { return 0 }
        guard let step = reader.peek(20..<28) else {
            return extraDeadline.map { now >= $0 } == true ? 0 : nil
        }
        return step[..<4] == [0, 6, 0, 0] && step[4...] != [0, 0, 0, 0] ? 8 : 0
    }

    /// When a start request stops waiting for bytes that its header does not announce.
    private var extraDeadline: MonotonicTime? {
        guard let header = try? reader.header(), Self.isStartWithoutFilter(header),
            reader.peek(12..<20) != nil
        else { return nil }
        return messageStart.map { $0 + Self.extraTimeMax }
    }

    /// Whether a message has begun that is not complete.
    var isInMessage: Bool { messageStart != nil }

    /// When the message at the front is late, or complete as it is; nil if none has begun.
    var deadline: MonotonicTime? { extraDeadline ?? messageDeadline }

    private var messageDeadline: MonotonicTime? { messageStart.map { $0 + Self.messageTimeMax } }

    /// Whether the message at the front has taken longer than a peer may.
    func isLate(now: MonotonicTime) -> Bool { messageDeadline.map { now >= $0 } ?? false }

    /// Gives the message at the front its full time again, since it had to wait for its turn.
    mutating func restartClock(now: MonotonicTime) {
        if isInMessage { messageStart = now }
    }
}
