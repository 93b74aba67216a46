import Addressing
import Packets

/// The rule's fast path: clears frames that an edge's program has surely decided about.
///
/// Most frames are cleared by their first look in user space. All others go through the slow path,
/// which comes to the program's own decision if there was one. Both the program and this are made
/// from one rule: **a frame that the program punts is never cleared**.
///
/// Networks and single addresses are kept as plain numbers, because retaining a rule's arrays and
/// sets for each frame took longer than everything else that is done to a frame together. For the
/// same reason the value cannot be copied.
package struct FastPath: ~Copyable, Sendable {
    /// The networks and single addresses whose packets are not cleared.
    private let punted: PlainNetworks
    /// Whether the rule has to be asked for them.
    private let asksRule: Bool
    /// What tells pods from others.
    let pods: PlainPods
    let rule: Rule
    private var fronts = FrontFilter()
    /// The addresses whose packets need more than the numbers above.
    private var looksUp: AddressBits

    package init(_ rule: Rule) {
        self.rule = rule
        pods = PlainPods(rule)
        punted = PlainNetworks(rule.puntedNetworks)
        asksRule = rule.puntsAddresses || !punted.isComplete
        looksUp = asksRule ? .all : AddressBits()
    }

    /// Replaces the fronts: packets that go through them are not cleared.
    ///
    /// There must be all fronts that any installed program has.
    package mutating func set(fronts keys: Set<ServiceKey>) {
        fronts = FrontFilter(keys)
        looksUp = asksRule ? .all : fronts.bits
    }

    /// Whether a program that decides has surely decided about this frame.
    package func clears(_ frame: RawSpan) -> Bool {
        guard let family = Self.plainFamily(of: frame, opens: false) else { return false }
        return clearsAddresses(frame, family, opens: false)
    }

    /// The family of a plain frame with SYN or RST, if user space looks up nothing about its ends.
    func openingFamily(of frame: RawSpan) -> IPAddress.Family? {
        guard let family = Self.plainFamily(of: frame, opens: true),
            clearsAddresses(frame, family, opens: true)
        else { return nil }
        return family
    }

    /// Whether a program does not punt a plain frame because of its addresses.
    ///
    /// In most captures nothing is looked up, which costs one comparison for each frame.
    @inline(__always)
    private func clearsAddresses(
        _ frame: RawSpan, _ family: IPAddress.Family, opens: Bool
    ) -> Bool {
        let lows: (source: UInt64, destination: UInt64)
        switch family {
        case .ipv4:
            let source = frame.uint32(at: PlainFrame.IPv4.source)
            let destination = frame.uint32(at: PlainFrame.IPv4.destination)
            guard !punted.contain(source, or: destination) else { return false }
            lows = (UInt64(source), UInt64(destination))
        case .ipv6:
            typealias Layout = PlainFrame.IPv6
            lows = (
                frame.uint64(at: Layout.source + 8), frame.uint64(at: Layout.destination + 8)
            )
            guard !punted.contain(frame.uint64(at: Layout.source), lows.source),
                !punted.contain(frame.uint64(at: Layout.destination), lows.destination)
            else { return false }
        }
        if looksUp.isEmpty { return true }
        return !looksUp.contain(lows.source) && !looksUp.contain(lows.destination)
            || clearsByLookup(frame, family, opens: opens)
    }

    @inline(never)
    private func clearsByLookup(
        _ frame: RawSpan, _ family: IPAddress.Family, opens: Bool
    ) -> Bool {
        (!asksRule || clearsByRule(frame, family)) && !hasFront(frame, family, opens: opens)
    }

    /// Whether a program that knows the fronts punts a plain frame.
    ///
    /// It punts what has no ports, and what opens a connection, by the address alone.
    private func hasFront(_ frame: RawSpan, _ family: IPAddress.Family, opens: Bool) -> Bool {
        switch family {
        case .ipv4:
            typealias Layout = PlainFrame.IPv4
            return fronts.bits.contain(UInt64(frame.uint32(at: Layout.source)))
                && hasFront(
                    frame, at: Layout.source, family, Layout.transport, opens, isReply: true)
                || fronts.bits.contain(UInt64(frame.uint32(at: Layout.destination)))
                    && hasFront(
                        frame, at: Layout.destination, family, Layout.transport, opens,
                        isReply: false)
        case .ipv6:
            typealias Layout = PlainFrame.IPv6
            return fronts.bits.contain(frame.uint64(at: Layout.source + 8))
                && hasFront(
                    frame, at: Layout.source, family, Layout.transport, opens, isReply: true)
                || fronts.bits.contain(frame.uint64(at: Layout.destination + 8))
                    && hasFront(
                        frame, at: Layout.destination, family, Layout.transport, opens,
                        isReply: false)
        }
    }

    private func hasFront(
        _ frame: RawSpan, at offset: Int, _ family: IPAddress.Family, _ transport: Int,
        _ opens: Bool, isReply: Bool
    ) -> Bool {
        let address = IPAddress(family, frame, at: offset)
        let number =
            switch family {
            case .ipv4: frame.uint8(at: PlainFrame.IPv4.protocolNumber)
            case .ipv6: frame.uint8(at: PlainFrame.IPv6.protocolNumber)
            }
        if opens || !IPProtocol.hasPorts(number) { return fronts.containsAddress(address) }
        let port = frame.uint16(
            at: transport + (isReply ? PortsHeader.source : PortsHeader.destination))
        return fronts.contains(address, number, port)
    }

    /// Whether an edge's program has surely decided about this frame.
    ///
    /// The program compares the MAC addresses of frames towards the pod as well.
    package func clears(_ frame: RawSpan, toPod: Bool, at edge: EdgeMACs) -> Bool {
        clears(frame) && (!toPod || !edge.areCompared || clearsMACs(of: frame, at: edge))
    }

    /// Whether a frame towards the pod is the pod's, and no other edge of the bridge may have reported it.
    package func clearsMACs(of frame: RawSpan, at edge: EdgeMACs) -> Bool {
        frame.byteCount >= EthernetHeader.byteCount && edge.own(frame)
            && (edge.isFromNode(frame) || pods.containBothEnds(frame))
    }

    /// Asks the rule itself, at the price of holding on to its arrays and sets.
    private func clearsByRule(_ frame: RawSpan, _ family: IPAddress.Family) -> Bool {
        if rule.puntsAddresses { return false }
        let offset =
            switch family {
            case .ipv4: PlainFrame.IPv4.source
            case .ipv6: PlainFrame.IPv6.source
            }
        return !rule.punts(IPAddress(family, frame, at: offset))
            && !rule.punts(IPAddress(family, frame, at: offset + family.byteCount))
    }

    /// Returns the family of a frame's packet, if a program decides about such packets at all.
    ///
    /// - Returns: nil unless the frame is unicast and plain, holds what a program loads, and
    ///   carries no fragment, no ICMP message and no link-local address. `opens` tells whether it
    ///   must be a TCP segment with SYN or RST, or must not.
    @inline(__always)
    private static func plainFamily(of frame: RawSpan, opens: Bool) -> IPAddress.Family? {
        guard frame.byteCount >= PlainFrame.IPv4.transport + PortsHeader.byteCount,
            frame.uint8(at: EthernetHeader.destination) & EthernetHeader.groupBit == 0
        else { return nil }
        switch frame.uint16(at: EthernetHeader.etherType) {
        case EtherType.ipv4:
            typealias Layout = PlainFrame.IPv4
            guard frame.uint8(at: EthernetHeader.byteCount) == IPv4Header.plainStart,
                frame.uint16(at: Layout.fragment) & IPv4Header.fragmentMask == 0,
                isLongEnough(
                    frame.uint16(at: Layout.length),
                    least: opens ? Layout.lengthWithFlags : Layout.lengthWithPorts),
                opens
                    ? hasOpeningFlags(
                        frame, frame.uint8(at: Layout.protocolNumber), at: Layout.transport)
                    : opensNothing(
                        frame, frame.uint8(at: Layout.protocolNumber), at: Layout.transport,
                        or: IPProtocol.icmp)
            else { return nil }
            return .ipv4
        case EtherType.ipv6:
            typealias Layout = PlainFrame.IPv6
            guard frame.byteCount >= Layout.transport + PortsHeader.byteCount,
                frame.uint8(at: EthernetHeader.byteCount) >> 4 == 6,
                isLongEnough(
                    frame.uint16(at: Layout.length),
                    least: opens ? Layout.lengthWithFlags : Layout.lengthWithPorts),
                IPProtocol.hasPorts(frame.uint8(at: Layout.protocolNumber)),
                opens
                    ? hasOpeningFlags(
                        frame, frame.uint8(at: Layout.protocolNumber), at: Layout.transport)
                    : opensNothing(
                        frame, frame.uint8(at: Layout.protocolNumber), at: Layout.transport),
                !isLinkLocal(frame.uint16(at: Layout.source)),
                !isLinkLocal(frame.uint16(at: Layout.destination))
            else { return nil }
            return .ipv6
        default:
            return nil
        }
    }

    /// Whether a packet is no TCP segment with SYN or RST, as far as its flags are there.
    ///
    /// A packet of the excluded protocol is not cleared either.
    @inline(__always)
    private static func opensNothing(
        _ frame: RawSpan, _ transport: UInt8, at offset: Int, or excluded: UInt8 = IPProtocol.tcp
    ) -> Bool {
        if transport == IPProtocol.tcp {
            return frame.byteCount > offset + TCPHeader.flags
                && frame.uint8(at: offset + TCPHeader.flags) & TCPHeader.openingFlags == 0
        }
        return transport != excluded
    }

    /// Whether a packet is a TCP segment with SYN or RST.
    @inline(__always)
    private static func hasOpeningFlags(_ frame: RawSpan, _ transport: UInt8, at offset: Int)
        -> Bool
    {
        transport == IPProtocol.tcp && frame.byteCount > offset + TCPHeader.flags
            && frame.uint8(at: offset + TCPHeader.flags) & TCPHeader.openingFlags != 0
    }

    /// Whether a length field leaves room for fields; 0 marks a packet longer than it can say.
    @inline(__always)
    private static func isLongEnough(_ length: UInt16, least: Int) -> Bool {
        length == 0 || length >= least
    }

    /// Whether an IPv6 address that begins with these two bytes is inside `fe80::/10`.
    @inline(__always)
    private static func isLinkLocal(_ start: UInt16) -> Bool { start & 0xffc0 == 0xfe80 }
}

extension Rule {
    /// The networks and single addresses about which programs leave the decision to user space.
    fileprivate var puntedNetworks: [IPNetwork] {
        addressPlan.serviceNetworks + addressPlan.localPodNetworks
            + podAddressesOutsideNetworks.map {
                IPNetwork($0, prefixBitCount: $0.family.bitCount)
            }
    }

    /// Whether programs leave packets with this address to user space.
    fileprivate func punts(_ address: IPAddress) -> Bool {
        addressPlan.isService(address) || podAddressesOutsideNetworks.contains(address)
            || addressPlan.localPodNetworks.contains { $0.contains(address) }
    }
}
