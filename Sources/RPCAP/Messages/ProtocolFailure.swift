/// Why a message is none that the protocol allows.
package enum ProtocolFailure: Error, Equatable, CustomStringConvertible {
    case tooShort(String)
    case tooLong(byteCount: Int, byteCountMax: Int)
    case wrongVersion(UInt8)
    case unexpected(type: UInt8)
    case malformed(String)
    /// The peer answered with an ERROR.
    case refused(code: UInt16, text: String)

    package var description: String {
        switch self {
        case .tooShort(let what): "\(what): the message is too short"
        case .tooLong(let byteCount, let byteCountMax):
            "a message of \(byteCount) bytes, the most is \(byteCountMax)"
        case .wrongVersion(let version): "protocol version \(version), only 0 exists"
        case .unexpected(let type): "message type \(type) is not expected here"
        case .malformed(let what): what
        case .refused(let code, let text): "the peer refused: \(text) (error \(code))"
        }
    }
}
