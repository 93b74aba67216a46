import Addressing
import Packets

extension Rule {
    /// Whether the kernel may have passed this frame on undecided. It errs on the side of yes: a
    /// frame that is asked about twice gets the same answer twice.
    ///
    /// It looks at a few bytes, in the order in which they rule things out, and reads no header
    /// whole. `Screen` says no to most frames sooner.
    package func mayNeedSettling(_ frame: RawSpan) -> Bool {
        guard let family = Self.plainFamily(of: frame) else { return true }
        return turnsOnAddress(family, frame, sourceAt: family.sourceOffset)
    }

    /// Whose unicast packet a frame carries, if its headers are such as the kernel decides about; nil
    /// for everything else.
    @inline(__always)
    static func plainFamily(of frame: RawSpan) -> IPAddress.Family? {
        guard frame.byteCount >= 38, frame.uint8(at: 0) & 1 == 0 else { return nil }
        switch frame.uint16(at: 12) {
        case EtherType.ipv4:
            guard frame.uint8(at: 14) == 0x45, frame.uint16(at: 20) & 0x3fff == 0,
                IPAddress.Family.ipv4.isFilled(frame.uint16(at: 16)),
                frame.uint8(at: 23) != IPProtocol.icmp
            else { return nil }
            return .ipv4
        case EtherType.ipv6:
            guard frame.byteCount >= 58, frame.uint8(at: 14) >> 4 == 6,
                IPAddress.Family.ipv6.isFilled(frame.uint16(at: 18)),
                isPlainIPv6Transport(frame.uint8(at: 20)),
                frame.uint16(at: 22) & 0xffc0 != 0xfe80, frame.uint16(at: 38) & 0xffc0 != 0xfe80
            else { return nil }
            return .ipv6
        default:
            return nil
        }
    }

    private func turnsOnAddress(
        _ family: IPAddress.Family, _ frame: RawSpan, sourceAt offset: Int
    ) -> Bool {
        if kernelLeavesAddresses { return true }
        let source = IPAddress(family, frame, at: offset)
        let destination = IPAddress(family, frame, at: offset + family.byteCount)
        if addressPlan.isService(source) || addressPlan.isService(destination) { return true }
        return !podAddressesOutsideNetworks.isEmpty
            && (podAddressesOutsideNetworks.contains(source)
                || podAddressesOutsideNetworks.contains(destination))
    }

    private static func isPlainIPv6Transport(_ number: UInt8) -> Bool {
        number == IPProtocol.tcp || number == IPProtocol.udp || number == IPProtocol.sctp
    }

    /// Whether there are more single addresses than fit a program beside a client's filter; then
    /// the kernel passes on what turns on them.
    var kernelLeavesAddresses: Bool { leavesNodeAddresses || leavesPodAddresses }

    var leavesNodeAddresses: Bool {
        nodeAddressesInPodNetworks.count > Self.programAddressCountMax
    }

    var leavesPodAddresses: Bool {
        podAddressesOutsideNetworks.count > Self.programAddressCountMax
    }

    /// Each address of a list takes about two instructions for the source and two for the
    /// destination. The kernel takes 4,096, and most of them are for the client's filter.
    static let programAddressCountMax = 250
}

extension IPAddress.Family {
    /// Whether a length field leaves room for ports. 0 stands for a packet larger than it can say.
    func isFilled(_ byteCount: UInt16) -> Bool {
        switch self {
        case .ipv4: byteCount == 0 || byteCount >= 24
        case .ipv6: byteCount == 0 || byteCount >= 4
        }
    }

    /// Where a packet's source address is in an Ethernet frame; the destination's follows it.
    var sourceOffset: Int {
        switch self {
        case .ipv4: 26
        case .ipv6: 22
        }
    }
}
