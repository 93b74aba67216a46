import BPF
import Frames

/// Writes the rule's steps, the last one first.
struct EdgeProgramWriter {
    typealias Height = Assembler.Height

    let rule: Rule
    /// The drop list in order.
    let services: [(key: ServiceKey, value: UInt16)]
    /// Whether frames whose VLAN tag the kernel has taken out are left to user space.
    let settlesTagged: Bool
    var code: Assembler
    let keep: Height
    let settle: Height
    let drop: Height

    mutating func write(at point: ObservationPoint) -> Program {
        // A packet's own code is written before the branch to it, so both families come first.
        let ipv4 = write(PacketLayout.ipv4)
        let ipv6 = write(PacketLayout.ipv6)
        code.jump(.jumpIfEqual, UInt32(EtherType.ipv6), then: ipv6, else: settle, "IPv6?")
        let dispatch = code.jump(
            .jumpIfEqual, UInt32(EtherType.ipv4), then: ipv4, else: code.top, "IPv4?")
        var next = dispatch
        next = code.prepend(Instruction(.loadHalf, 12), "EtherType")
        if rule.deduplicates {
            next = ownership(at: point, then: next)
            code.jump(.jumpIfAny, 1, then: settle, else: next, "to a group?")
            code.prepend(Instruction(.loadByte, 0), "destination MAC, first byte")
        }
        code.jump(.jumpIfAtLeast, 34, then: code.top, else: settle, "holds an IPv4 header?")
        code.prepend(Instruction(.loadLength), "how much of the frame there is")
        if settlesTagged {
            code.jump(.jumpIfEqual, 1, then: settle, else: code.top, "a VLAN tag taken out?")
            code.prepend(Instruction(.loadWord, Ancillary.tagPresenceOffset))
        }
        return code.program()
    }

    /// Step 2: what goes to the pod has its address, or is a flooded copy.
    private mutating func ownership(at point: ObservationPoint, then next: Height) -> Height {
        guard let mac = point.podMAC else { return next }
        code.jump(
            .jumpIfEqual, UInt32(mac.value >> 32), then: next, else: drop, "to the pod's \(mac)?")
        code.prepend(Instruction(.loadHalf, 0), "destination MAC, first half")
        code.jump(
            .jumpIfEqual, UInt32(mac.value & 0xffff_ffff), then: code.top, else: drop,
            "to the pod's \(mac)?")
        let egress = code.prepend(Instruction(.loadWord, 2), "destination MAC, the rest")
        code.jump(.jumpIfEqual, Ancillary.outgoing, then: egress, else: next, "egress?")
        return code.prepend(Instruction(.loadWord, Ancillary.packetTypeOffset))
    }

    private mutating func write(_ layout: PacketLayout) -> Height {
        let bothPods =
            !rule.deduplicates ? keep : rule.leavesNodeAddresses ? settle : observedEnd(layout)
        var next = ends(layout, bothPods: bothPods)
        if rule.deduplicates { next = services(layout, else: next) }
        if layout.family == .ipv6 { next = linkLocal(layout, then: next) }
        return fixedHeader(layout, then: next)
    }

    /// Another version, IPv4 options, or less than a whole IPv6 header.
    private mutating func fixedHeader(_ layout: PacketLayout, then next: Height) -> Height {
        switch layout.family {
        case .ipv4:
            code.jump(.jumpIfEqual, 0x45, then: next, else: settle, "version 4, no options?")
        case .ipv6:
            code.jump(.jumpIfEqual, 0x60, then: next, else: settle, "version 6?")
            code.prepend(Instruction(.and, 0xf0), "version")
        }
        code.prepend(Instruction(.loadByte, 14), "IP version, and IPv4 header length")
        guard layout.family == .ipv6 else { return code.top }
        code.jump(.jumpIfAtLeast, 54, then: code.top, else: settle, "holds an IPv6 header?")
        return code.prepend(Instruction(.loadLength), "how much of the frame there is")
    }

    /// Which pods have a link-local address is for user space to look up: there may be hundreds.
    private mutating func linkLocal(_ layout: PacketLayout, then next: Height) -> Height {
        var next = next
        for (offset, end) in [(layout.destination, "destination"), (layout.source, "source")] {
            code.jump(.jumpIfEqual, 0xfe80, then: settle, else: next, "\(end) link-local?")
            code.prepend(Instruction(.and, 0xffc0), "\(end)'s first 10 bits")
            next = code.prepend(Instruction(.loadHalf, offset), "\(end), first half word")
        }
        return next
    }
}

extension EdgeProgramWriter {
    /// Steps 1 and 5: which of the two ends are pods, and whether the other one is a sensor.
    mutating func ends(_ layout: PacketLayout, bothPods: Height) -> Height {
        let sensors = rule.surroundings.sensors.sorted().of(layout.family)
        let other = rule.leavesPodAddresses ? settle : keep
        // Where pods and nodes are not told apart, neither is the feed from other traffic.
        let feed = rule.kernelLeavesAddresses ? settle : drop
        let source = code.isOne(
            of: sensors, at: layout.source, then: feed, else: other, "source a sensor?")
        let destination = code.isOne(
            of: sensors, at: layout.destination, then: feed, else: other, "destination a sensor?")
        let neither = code.isOne(
            of: sensors, at: layout.destination, then: feed, else: source, "destination a sensor?")
        let sourceOnly = rule.kernelLeavesAddresses ? neither : source
        let destinationOnly = rule.kernelLeavesAddresses ? neither : destination

        // Scratch word 0 says whether the source is a pod.
        code.jump(.jumpIfEqual, 1, then: bothPods, else: destinationOnly, "source a pod, too?")
        let isPod = code.prepend(Instruction(.loadScratch, 0), "is the source a pod?")
        code.jump(.jumpIfEqual, 1, then: sourceOnly, else: neither, "only the source a pod?")
        let isNoPod = code.prepend(Instruction(.loadScratch, 0), "is the source a pod?")
        let destinationPod = pod(
            layout.family, "destination", at: layout.destination, then: isPod, else: isNoPod)

        code.goOn(to: destinationPod)
        let sourceIsPod = remember(1)
        code.goOn(to: destinationPod)
        let sourceIsNoPod = remember(0)
        return pod(
            layout.family, "source", at: layout.source, then: sourceIsPod, else: sourceIsNoPod)
    }

    private mutating func remember(_ value: UInt32) -> Height {
        code.prepend(Instruction(.storeScratch, 0), "whether the source is a pod")
        return code.prepend(
            Instruction(.loadConstant, value),
            value == 1 ? "the source is a pod" : "the source is no pod")
    }

    private mutating func pod(
        _ family: IPAddress.Family, _ end: String, at offset: UInt32, then yes: Height,
        else no: Height
    ) -> Height {
        let surroundings = rule.surroundings
        let others =
            rule.leavesPodAddresses ? [] : rule.podAddressesOutsideNetworks.sorted().of(family)
        let nodes = rule.leavesNodeAddresses ? [] : rule.nodeAddressesInPodNetworks.of(family)
        // Whether other nodes take it for a pod, too, is for user space to look up.
        let local = code.isOne(
            of: others, at: offset, then: settle, else: no, "\(end) a pod of this node?")
        let node = code.isOne(of: nodes, at: offset, then: local, else: yes, "\(end) a node?")
        let covered = code.isInside(
            surroundings.uncovered.of(family), at: offset, then: local, else: node,
            "\(end) uncovered by")
        return code.isInside(
            surroundings.podNetworks.of(family), at: offset, then: covered, else: local,
            "\(end) in pods'")
    }

    /// Step 6: ports first, then addresses.
    mutating func observedEnd(_ layout: PacketLayout) -> Height {
        let sourceReports = reports(atEgress: false)
        let destinationReports = reports(atEgress: true)
        let byAddress = compareAddresses(layout, sourceReports, destinationReports)
        let unlessItself = compareEnds(layout, same: sourceReports, else: destinationReports)
        code.jump(.jumpIfGreater.withX, then: unlessItself, else: sourceReports, "lower port?")
        code.jump(.jumpIfEqual.withX, then: byAddress, else: code.top, "equal ports?")
        code.prepend(Instruction(.loadHalf, layout.transport), "source port")
        code.prepend(Instruction(.copyToX), "the destination's, to compare with")
        let byPort = code.prepend(Instruction(.loadHalf, layout.transport + 2), "destination port")

        var next = icmp(layout, then: byAddress)
        if layout.family == .ipv6 {
            for number in IPv6Extension.numbers {
                next = code.jump(
                    .jumpIfEqual, UInt32(number), then: settle, else: next, "extension header?")
            }
        }
        for number in IPProtocol.withPorts {
            next = code.jump(.jumpIfEqual, UInt32(number), then: byPort, else: next, "has ports?")
        }
        code.prepend(Instruction(.loadByte, layout.protocolNumber), "protocol")
        return readable(layout)
    }

    /// The observed end's edge: the source's if the frame came from its pod, the destination's if
    /// the frame goes there.
    private mutating func reports(atEgress: Bool) -> Height {
        code.jump(
            .jumpIfEqual, Ancillary.outgoing, then: atEgress ? keep : drop,
            else: atEgress ? drop : keep, "egress?")
        return code.prepend(Instruction(.loadWord, Ancillary.packetTypeOffset))
    }

    /// What an address sends to itself is reported where it enters, whatever the ports. The last
    /// word comes first: it is the one that differs.
    private mutating func compareEnds(
        _ layout: PacketLayout, same: Height, else different: Height
    ) -> Height {
        var next = same
        for word in 0..<UInt32(layout.family.byteCount / 4) {
            code.jump(.jumpIfEqual.withX, then: next, else: different, "to itself?")
            code.prepend(Instruction(.loadWord, layout.source + 4 * word), "source, word \(word)")
            code.prepend(Instruction(.copyToX), "the destination's, to compare with")
            next = code.prepend(
                Instruction(.loadWord, layout.destination + 4 * word), "destination, word \(word)")
        }
        return next
    }

    private mutating func compareAddresses(
        _ layout: PacketLayout, _ sourceReports: Height, _ destinationReports: Height
    ) -> Height {
        var next = sourceReports
        for word in (0..<UInt32(layout.family.byteCount / 4)).reversed() {
            code.jump(
                .jumpIfGreater.withX, then: destinationReports, else: sourceReports,
                "lower address?")
            code.jump(.jumpIfEqual.withX, then: next, else: code.top, "equal?")
            code.prepend(Instruction(.loadWord, layout.source + 4 * word), "source, word \(word)")
            code.prepend(Instruction(.copyToX), "the destination's, to compare with")
            next = code.prepend(
                Instruction(.loadWord, layout.destination + 4 * word), "destination, word \(word)")
        }
        return next
    }

    /// An ICMP error follows the flow it quotes, which user space reads.
    private mutating func icmp(_ layout: PacketLayout, then next: Height) -> Height {
        switch layout.family {
        case .ipv4:
            var type = next
            for error in IPPacket.icmpErrorTypes {
                type = code.jump(
                    .jumpIfEqual, UInt32(error), then: settle, else: type, "ICMP error?")
            }
            type = code.prepend(Instruction(.loadByte, layout.transport), "ICMP type")
            return code.jump(
                .jumpIfEqual, UInt32(IPProtocol.icmp), then: type, else: next, "ICMP?")
        case .ipv6:
            code.jump(.jumpIfAtLeast, 128, then: next, else: settle, "ICMPv6 error?")
            let type = code.prepend(Instruction(.loadByte, layout.transport), "ICMP type")
            return code.jump(
                .jumpIfEqual, UInt32(IPProtocol.icmpv6), then: type, else: next, "ICMPv6?")
        }
    }

    /// Not a fragment, and neither cut nor padded before the ports.
    mutating func readable(_ layout: PacketLayout) -> Height {
        let next = code.top
        code.jump(
            .jumpIfAtLeast, layout.lengthMin, then: next, else: settle, "long enough for ports?")
        code.jump(.jumpIfEqual, 0, then: next, else: code.top, "longer than it can say?")
        code.prepend(Instruction(.loadHalf, layout.length), "what the packet says its length is")
        code.jump(
            .jumpIfAtLeast, layout.transport + 4, then: code.top, else: settle, "holds ports?")
        code.prepend(Instruction(.loadLength), "how much of the frame there is")
        guard layout.family == .ipv4 else { return code.top }
        code.jump(.jumpIfAny, 0x3fff, then: settle, else: code.top, "fragment?")
        return code.prepend(Instruction(.loadHalf, 20), "fragment offset and flags")
    }
}

/// Where the fields of a family's header lie in the frame.
struct PacketLayout {
    let family: IPAddress.Family
    let source: UInt32
    let destination: UInt32
    let protocolNumber: UInt32
    let length: UInt32
    /// The least that the length field can say when there are ports.
    let lengthMin: UInt32
    let transport: UInt32

    static let ipv4 = Self(
        family: .ipv4, source: 26, destination: 30, protocolNumber: 23, length: 16, lengthMin: 24,
        transport: 34)
    static let ipv6 = Self(
        family: .ipv6, source: 22, destination: 38, protocolNumber: 20, length: 18, lengthMin: 4,
        transport: 54)
}

extension Array where Element == IPAddress {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}

extension Array where Element == Network {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}
