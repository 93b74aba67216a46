import Addressing

/// The share of the packets passing the filter that a client wants.
package enum Sampling: Equatable, Sendable {
    case none
    /// One packet in a number of packets, 2 or more.
    case onePacketIn(UInt32)
    /// One packet in a number of milliseconds, 1 or more.
    case onePacketPerMilliseconds(UInt32)

    static let byteCount = 8

    /// Reads a request of at least 8 bytes.
    ///
    /// libpcap's client on little-endian machines always sends the value 0. So that value means no
    /// sampling, and so does an unknown method.
    init(_ payload: RawSpan) {
        let value = payload.uint32(at: 4)
        switch payload.uint8(at: 0) {
        case 1 where value > 1: self = .onePacketIn(value)
        case 2 where value > 0: self = .onePacketPerMilliseconds(value)
        default: self = .none
        }
    }

    package var bytes: [UInt8] {
        let (method, value): (UInt8, UInt32) =
            switch self {
            case .none: (0, 0)
            case .onePacketIn(let count): (1, count)
            case .onePacketPerMilliseconds(let milliseconds): (2, milliseconds)
            }
        var bytes: [UInt8] = [method, 0, 0, 0]
        bytes.append(bigEndian: value)
        return bytes
    }
}

extension Sampling: CustomStringConvertible {
    package var description: String {
        switch self {
        case .none: "none"
        case .onePacketIn(let count): "1 in \(count)"
        case .onePacketPerMilliseconds(let milliseconds): "1 per \(milliseconds) ms"
        }
    }
}
