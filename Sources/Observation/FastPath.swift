package import Addressing
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
    @inline(__always)
    package func clears(_ frame: RawSpan) -> Bool {
        guard Self.isUnicast(frame) else { return false }
        return frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4
            ? clearsIPv4(frame, opens: false) : clearsIPv6(frame, opens: false)
    }

    /// The family of a plain frame with SYN or RST, if user space looks up nothing about its ends.
    func openingFamily(of frame: RawSpan) -> IPAddress.Family? {
        guard Self.isUnicast(frame) else { return nil }
        if frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4 {
            return clearsIPv4(frame, opens: true) ? .ipv4 : nil
        }
        return clearsIPv6(frame, opens: true) ? .ipv6 : nil
    }

    /// Whether an address is surely a pod's, by its network; false says nothing.
    package func isPod(_ address: IPAddress) -> Bool { pods.isComplete && pods.contains(address) }

    @inline(__always)
    private func clearsIPv4(_ frame: RawSpan, opens: Bool) -> Bool {
        guard Self.isPlainIPv4(frame, opens: opens) else { return false }
        let source = frame.uint32(at: PlainFrame.IPv4.source)
        let destination = frame.uint32(at: PlainFrame.IPv4.destination)
        return !punted.contain(source, or: destination)
            && clearsLookup(frame, .ipv4, UInt64(source), UInt64(destination), opens: opens)
    }

    /// Never inlined, since the registers that it needs would have to be saved for IPv4 as well.
    @inline(never)
    private func clearsIPv6(_ frame: RawSpan, opens: Bool) -> Bool {
        typealias Layout = PlainFrame.IPv6
        guard Self.isPlainIPv6(frame, opens: opens) else { return false }
        let source = frame.uint64(at: Layout.source + 8)
        let destination = frame.uint64(at: Layout.destination + 8)
        return !punted.contain(frame.uint64(at: Layout.source), source)
            && !punted.contain(frame.uint64(at: Layout.destination), destination)
            && clearsLookup(frame, .ipv6, source, destination, opens: opens)
    }

    /// Whether a frame needs no lookup of the last eight bytes of its addresses, or passes it.
    @inline(__always)
    private func clearsLookup(
        _ frame: RawSpan, _ family: IPAddress.Family, _ source: UInt64, _ destination: UInt64,
        opens: Bool
    ) -> Bool {
        looksUp.isEmpty || !looksUp.contain(source) && !looksUp.contain(destination)
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

    /// What the fast path knows of a frame.
    package enum Look: Sendable {
        /// It may be another pod's, or another edge may have reported it.
        case unknown
        /// It is the pod's, but the program may have left it to user space.
        case own
        /// The program has surely decided about it.
        case cleared
    }

    /// Looks at a frame that is the edge's own.
    package func look(at frame: RawSpan) -> Look { clears(frame) ? .cleared : .own }

    /// Looks at a frame towards a pod, which most likely has the addresses of the last one.
    package func look(
        at frame: RawSpan, _ edge: EdgeMACs, after passed: inout PassedAddresses
    ) -> Look {
        if passed.match(frame) {
            guard Self.isPlainIPv4(frame, opens: false) else { return .own }
            let isCleared = clearsLookup(
                frame, .ipv4, UInt64(frame.uint32(at: PlainFrame.IPv4.source)),
                UInt64(frame.uint32(at: PlainFrame.IPv4.destination)), opens: false)
            return isCleared ? .cleared : .own
        }
        return look(at: frame, edge, setting: &passed)
    }

    @inline(never)
    private func look(
        at frame: RawSpan, _ edge: EdgeMACs, setting passed: inout PassedAddresses
    ) -> Look {
        guard !edge.areCompared || clearsMACs(of: frame, at: edge) else { return .unknown }
        guard clears(frame) else { return .own }
        passed.set(frame)
        return .cleared
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

    /// Whether a frame is unicast, and has what all plain frames have.
    @inline(__always)
    private static func isUnicast(_ frame: RawSpan) -> Bool {
        frame.byteCount >= PlainFrame.IPv4.transport + PortsHeader.byteCount
            && frame.uint8(at: EthernetHeader.destination) & EthernetHeader.groupBit == 0
    }

    /// Whether a program decides about such packets of IPv4 at all.
    ///
    /// The frame must be plain and hold what a program loads. It must carry no fragment and no ICMP
    /// message. `opens` tells whether it must be a TCP segment with SYN or RST, or must not.
    @inline(__always)
    private static func isPlainIPv4(_ frame: RawSpan, opens: Bool) -> Bool {
        typealias Layout = PlainFrame.IPv4
        guard frame.uint8(at: EthernetHeader.byteCount) == IPv4Header.plainStart,
            frame.uint16(at: Layout.fragment) & IPv4Header.fragmentMask == 0,
            isLongEnough(
                frame.uint16(at: Layout.length),
                least: opens ? Layout.lengthWithFlags : Layout.lengthWithPorts)
        else { return false }
        let transport = frame.uint8(at: Layout.protocolNumber)
        return opens
            ? hasOpeningFlags(frame, transport, at: Layout.transport)
            : opensNothing(frame, transport, at: Layout.transport, or: IPProtocol.icmp)
    }

    /// Whether a program decides about such packets of IPv6 at all.
    ///
    /// As for IPv4; a packet with a link-local address is not plain.
    @inline(__always)
    private static func isPlainIPv6(_ frame: RawSpan, opens: Bool) -> Bool {
        typealias Layout = PlainFrame.IPv6
        guard frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv6,
            frame.byteCount >= Layout.transport + PortsHeader.byteCount,
            frame.uint8(at: EthernetHeader.byteCount) >> 4 == 6,
            isLongEnough(
                frame.uint16(at: Layout.length),
                least: opens ? Layout.lengthWithFlags : Layout.lengthWithPorts)
        else { return false }
        let transport = frame.uint8(at: Layout.protocolNumber)
        guard IPProtocol.hasPorts(transport),
            opens
                ? hasOpeningFlags(frame, transport, at: Layout.transport)
                : opensNothing(frame, transport, at: Layout.transport)
        else { return false }
        return !isLinkLocal(frame.uint16(at: Layout.source))
            && !isLinkLocal(frame.uint16(at: Layout.destination))
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
