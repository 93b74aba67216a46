import Addressing

/// The checks that a client makes before it believes a reply.
///
/// A reply may be longer than the protocol has it. The rest is ignored, as libpcap's client does.
enum ReplyCheck {
    /// Checks the reply to a login: nothing, two versions, or those and the byte order.
    static func login(_ payload: [UInt8]) throws(ProtocolFailure) {
        guard !payload.isEmpty else { return }
        guard payload.count == 2 || payload.count >= 8 else {
            throw .malformed("a login reply has 0, 2 or 8 bytes, and this one \(payload.count)")
        }
        let (least, most) = (payload[0], payload[1])
        guard least <= most else {
            throw .malformed("a login reply with the versions \(least) to \(most)")
        }
        guard least == 0 else { throw .wrongVersion(least) }
        guard payload.count >= 8 else { return }
        let magic = payload.wire.uint32(at: 4)
        guard magic == 0xa1b2_c3d4 || magic == 0xd4c3_b2a1 else {
            throw .malformed("a login reply in no byte order that is known")
        }
    }

    /// Finds the device that was asked for, or else the one that is marked, or else the first.
    static func choose(
        _ name: String?, from devices: [Device]
    ) throws(ProtocolFailure) -> Device {
        let named = devices.filter { !$0.name.isEmpty }
        guard let first = named.first else {
            throw .malformed("the peer has nothing to capture from")
        }
        guard let name else { return named.first { $0.isPreselected } ?? first }
        guard let device = named.first(where: { $0.name == name }) else {
            let names = named.prefix(nameCountMax).map {
                Message.printableText([UInt8]($0.name.utf8))
            }
            let more = named.count > nameCountMax ? ", and more" : ""
            throw .malformed(
                "there is no device \(Message.printableText([UInt8](name.utf8))), the peer offers "
                    + names.joined(separator: ", ") + more)
        }
        return device
    }

    /// The most names that a message shows to a person.
    private static let nameCountMax = 20

    /// Reads the link type in the reply to an OPEN, as the number that capture files have for it.
    static func open(_ payload: [UInt8]) throws(ProtocolFailure) -> UInt16 {
        guard payload.count >= 8 else { throw .tooShort("open reply") }
        let number = payload.wire.uint32(at: 0)
        switch number {
        case 1, fileNumbers: return UInt16(number)
        case linuxRawIP: return rawIPInFiles
        default: throw .malformed("link type \(number) cannot be written to a file")
        }
    }

    /// `DLT_RAW` on Linux, and `LINKTYPE_RAW`.
    private static let linuxRawIP: UInt32 = 12
    private static let rawIPInFiles: UInt16 = 101
    /// From here on both numberings are one (pcap-linktype(7)); 113, Linux cooked, is among them.
    private static let fileNumbers: ClosedRange<UInt32> = 104...65_535
}
