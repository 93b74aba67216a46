import Addressing
import BPF
import Packets

/// Step 5, one end is not a pod: finds out what the ends of a packet are.
///
/// Steps 1, 4 and 6 follow, depending on what they are.
extension EdgeProgramWriter {
    /// The code at which to go on, for each kind of end.
    private struct EndLabels {
        let pod: Label
        /// A pod of this node whose address is outside the pod networks.
        let localPod: Label
        let service: Label
        let other: Label
    }

    /// Writes all that happens to packets of a family.
    ///
    /// The destination is tested first. Whether it is a pod is stored until the source is known.
    mutating func writeEnds(_ layout: PacketLayout) {
        writeHeader(layout)
        let (destinationIsPod, destinationIsNoPod) = (code.makeLabel(), code.makeLabel())
        let (toLocalPod, toService, source) = (
            code.makeLabel(), code.makeLabel(), code.makeLabel()
        )
        let (sourceIsPod, sourceIsNoPod) = (code.makeLabel(), code.makeLabel())
        let observedEnd = code.makeLabel()
        let (request, reply) = makeServiceLabels(layout)
        let feed = makeFeedLabels()
        let front = makeFrontLabels(layout, else: feed)

        writeEnd(
            layout, "destination", layout.destination,
            EndLabels(
                pod: destinationIsPod, localPod: toLocalPod, service: toService,
                other: destinationIsNoPod))
        code.place(toLocalPod)
        testSpecial(layout, "source", layout.source, service: reply, else: punt)
        // A link-local source is punted whatever the destination is.
        code.place(toService)
        testLinkLocal(layout, "source", layout.source, else: request)

        code.place(destinationIsNoPod)
        code.ld(.constant(0), "the destination is no pod")
        code.st(Scratch.isDestinationPod, "the destination is no pod")
        code.ja(source)
        code.place(destinationIsPod)
        code.ld(.constant(1), "the destination is a pod")
        code.st(Scratch.isDestinationPod, "the destination is a pod")

        code.place(source)
        writeEnd(
            layout, "source", layout.source,
            EndLabels(pod: sourceIsPod, localPod: punt, service: reply, other: sourceIsNoPod))
        code.place(sourceIsPod)
        code.ld(.scratch(Scratch.isDestinationPod), "is the destination a pod?")
        code.jeq(1, then: observedEnd, else: front.request, "are both pods?")
        code.place(sourceIsNoPod)
        code.ld(.scratch(Scratch.isDestinationPod), "is the destination a pod?")
        code.jeq(
            1, then: front.reply, else: feed.noPod, "only the destination a pod?")

        writeFronts(layout, front, else: feed)
        writeOwnFeed(layout, feed)
        writeServices(layout, request: request, reply: reply)
        code.place(observedEnd)
        writeObservedEnd(layout)
    }

    /// Stores the addresses of an IPv4 packet; punts IPv6 frames without a whole header.
    private mutating func writeHeader(_ layout: PacketLayout) {
        switch layout.family {
        case .ipv4:
            code.ld(.packet(UInt32(PlainFrame.IPv4.source)), "source")
            code.st(Scratch.source, "source")
            code.ld(.packet(UInt32(PlainFrame.IPv4.destination)), "destination")
            code.st(Scratch.destination, "destination")
        case .ipv6:
            code.ld(.length, "how much of the frame there is")
            code.jge(layout.transport, then: .next, else: punt, "holds an IPv6 header?")
        }
    }

    /// Tests what an end is.
    ///
    /// Most ends are pods, so that is tested first, unless a pod's address can be something else.
    private mutating func writeEnd(
        _ layout: PacketLayout, _ name: String, _ address: AddressSource, _ labels: EndLabels
    ) {
        let family = layout.family
        let podNetworks = rule.addressPlan.podNetworks.of(family)
        let specialNetworks = serviceNetworks(family) + [Self.linkLocalNetwork]
        let areApart = podNetworks.allSatisfy { pods in
            !specialNetworks.contains(where: pods.overlaps)
        }
        let localPods = rule.puntsPodAddresses ? [] : Array(rule.podAddressesOutsideNetworks)
        let nodes = rule.puntsNodeAddresses ? [] : rule.nodeAddressesInPodNetworks
        let (outside, local) = (code.makeLabel(), code.makeLabel())

        if !areApart {
            testSpecial(layout, name, address, service: labels.service, else: .next)
        }
        code.test(address, inside: podNetworks, then: .next, else: outside, "\(name) in pods'")
        code.test(
            address, inside: rule.addressPlan.uncovered.of(family), then: local, else: .next,
            "\(name) uncovered by")
        code.test(
            address, isOneOf: nodes.of(family), then: local, else: labels.pod, "\(name) a node?")
        code.place(outside)
        if areApart {
            testSpecial(layout, name, address, service: labels.service, else: .next)
        }
        // Whether other nodes take it for a pod as well is for user space to look up.
        code.place(local)
        code.test(
            address, inside: rule.addressPlan.localPodNetworks.of(family), then: labels.localPod,
            else: .next, "\(name) behind a pod of this node in")
        code.test(
            address, isOneOf: localPods.of(family), then: labels.localPod, else: labels.other,
            "\(name) a pod of this node?")
    }

    /// Tests whether an end is a service; link-local addresses are punted.
    private mutating func testSpecial(
        _ layout: PacketLayout, _ name: String, _ address: AddressSource, service: Label,
        else next: Label
    ) {
        testLinkLocal(layout, name, address, else: .next)
        code.test(
            address, inside: serviceNetworks(layout.family), then: service, else: next,
            "\(name) in services'")
    }

    private func serviceNetworks(_ family: IPAddress.Family) -> [IPNetwork] {
        rule.deduplicates ? rule.addressPlan.serviceNetworks.of(family) : []
    }

    /// Punts link-local addresses: there may be hundreds of pods, and each has one.
    private mutating func testLinkLocal(
        _ layout: PacketLayout, _ name: String, _ address: AddressSource, else next: Label
    ) {
        guard layout.family == .ipv6 else { return code.ja(next) }
        code.test(
            address, inside: [Self.linkLocalNetwork], then: punt, else: next,
            "\(name) link-local:")
    }

    private static let linkLocalNetwork = IPNetwork(
        IPAddress(ipv6High: 0xfe80 << 48, low: 0), prefixBitCount: 10)
}
