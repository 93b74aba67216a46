import Addressing
import Formats

/// The names in a pcapng file (draft-ietf-opsawg-pcapng, Name Resolution Block).
extension CaptureReader {
    /// More addresses than a cluster has; a file with more is made to fill memory.
    private static let nameCountMax = 262_144
    /// A pod's name with its namespace: each at most 253 characters.
    private static let nameByteCountMax = 512

    /// The records that are read.
    private enum NameRecord: UInt16 {
        case end = 0
        case ipv4 = 1
        case ipv6 = 2

        var family: IPAddress.Family? {
            switch self {
            case .end: nil
            case .ipv4: .ipv4
            case .ipv6: .ipv6
            }
        }
    }

    /// Reads a block of names.
    ///
    /// A name that no terminal should get is passed over, and so is the rest of a block that makes no
    /// sense: names are beside the packets.
    mutating func addNames(_ byteCount: Int) throws(Failure) -> Step {
        guard try input.skip(8) else { return .end }
        // The records and the options are between this and the length that ends the block.
        var rest = byteCount - 12
        while rest >= 4 {
            guard try input.fill(4) else { return .end }
            let (kind, length) = (NameRecord(rawValue: shortNumber(at: 0)), Int(shortNumber(at: 2)))
            let recordByteCount = 4 + (length + 3) / 4 * 4
            guard kind != .end, recordByteCount <= rest else { break }
            if let family = kind?.family {
                guard try input.fill(4 + length) else { return .end }
                addName(family, Array(input.bytes(4..<4 + length)))
            }
            guard try input.skip(recordByteCount) else { return .end }
            rest -= recordByteCount
        }
        return try input.skip(rest + 4) ? .other : .end
    }

    /// Takes the first name of a record: an address, and names that end with a zero.
    private mutating func addName(_ family: IPAddress.Family, _ record: [UInt8]) {
        guard record.count > family.byteCount else { return }
        let bytes = record.dropFirst(family.byteCount).prefix { $0 != 0 }
        let address = IPAddress(family, record.wire, at: 0)
        guard !bytes.isEmpty, bytes.count <= Self.nameByteCountMax,
            names.count < Self.nameCountMax || names[address] != nil,
            let name = String(validating: bytes, as: UTF8.self),
            !name.unicodeScalars.contains(where: \.isInvisible)
        else { return }
        names[address] = name
    }
}
