import Addressing

/// The type of a message.
///
/// A reply has its request's number with the high bit set.
package enum MessageType: UInt8, CaseIterable, Sendable {
    case error = 0x01
    case findInterfaces = 0x02
    case open = 0x03
    case startCapture = 0x04
    case updateFilter = 0x05
    case close = 0x06
    case packet = 0x07
    case login = 0x08
    case statistics = 0x09
    case endCapture = 0x0a
    case setSampling = 0x0b

    package var reply: UInt8 { rawValue | Self.replyBit }

    static let replyBit: UInt8 = 0x80
}

/// The header of every message: eight bytes in network byte order.
package struct MessageHeader: Equatable, Sendable {
    package var version: UInt8
    package var type: UInt8
    /// The code of an error, or the number of interfaces in a list; otherwise 0.
    package var value: UInt16
    /// The number of bytes behind the header.
    package var payloadByteCount: UInt32

    package static let byteCount = 8

    package init(version: UInt8 = 0, type: UInt8, value: UInt16 = 0, payloadByteCount: UInt32) {
        self.version = version
        self.type = type
        self.value = value
        self.payloadByteCount = payloadByteCount
    }

    /// Reads a header.
    ///
    /// The caller has checked that its bytes are there.
    package init(_ bytes: RawSpan) {
        version = bytes.uint8(at: 0)
        type = bytes.uint8(at: 1)
        value = bytes.uint16(at: 2)
        payloadByteCount = bytes.uint32(at: 4)
    }

    package var bytes: [UInt8] {
        var bytes = [version, type]
        bytes.append(bigEndian: value)
        bytes.append(bigEndian: payloadByteCount)
        return bytes
    }
}

/// Messages as they go onto the wire.
package enum Message {
    package static func request(_ type: MessageType, _ payload: [UInt8] = []) -> [UInt8] {
        MessageHeader(type: type.rawValue, payloadByteCount: UInt32(payload.count)).bytes + payload
    }

    package static func reply(
        to type: MessageType, value: UInt16 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        MessageHeader(type: type.reply, value: value, payloadByteCount: UInt32(payload.count)).bytes
            + payload
    }

    /// An ERROR with the version of the request that it answers, so that the peer accepts it.
    package static func error(_ code: ErrorCode, _ text: String, version: UInt8 = 0) -> [UInt8] {
        let payload = [UInt8](text.utf8.prefix(errorTextByteCountMax))
        return MessageHeader(
            version: version, type: MessageType.error.rawValue, value: code.rawValue,
            payloadByteCount: UInt32(payload.count)
        ).bytes + payload
    }

    /// The longest text: libpcap's client discards what is beyond.
    package static let errorTextByteCountMax = 255

    /// The failure that a stream begins with, if it begins with an ERROR that is there as a whole.
    package static func refusal(at start: [UInt8]) -> ProtocolFailure? {
        var reader = MessageReader(
            payloadByteCountMax: refusalByteCountMax, keptByteCountMax: refusalByteCountMax)
        reader.append(start[...])
        guard let header = try? reader.header(), header.type == MessageType.error.rawValue,
            let payload = reader.takePayload(byteCount: Int(header.payloadByteCount))
        else { return nil }
        return .refused(code: header.value, text: printableText(payload))
    }

    /// More than the text of an ERROR has that is worth reading.
    private static let refusalByteCountMax = 1024

    /// A text from the peer in printable ASCII, so that a terminal and a log can show it.
    static func printableText(_ bytes: [UInt8]) -> String {
        let text = bytes.prefix(errorTextByteCountMax).map { byte in
            (0x20...0x7e).contains(byte) ? byte : UInt8(ascii: "?")
        }
        return String(decoding: text, as: UTF8.self)
    }
}

/// The reason in an ERROR message.
package enum ErrorCode: UInt16, CaseIterable, Sendable {
    case network = 1
    case idleTimeout = 2
    case login = 3
    case listing = 4
    case noInterfaces = 5
    case open = 6
    case filter = 7
    case statistics = 8
    case reading = 9
    case hostNotAllowed = 10
    case activeAccept = 11
    case startCapture = 12
    case endCapture = 13
    case runTimeout = 14
    case sampling = 15
    case wrongMessage = 16
    case wrongVersion = 17
    case credentials = 18
    case needsTLS = 19
    case unknownLogin = 20
}
