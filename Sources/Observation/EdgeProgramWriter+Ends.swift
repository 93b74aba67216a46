import BPF
import Addressing

/// Steps 1, 4 and 5: what the two ends of a packet are.
extension EdgeProgramWriter {
    /// Where to go on with each of the things that an end can be.
    private struct Outcomes {
        let pod: Height
        /// Of this node, but outside the pod networks.
        let localPod: Height
        let service: Height
        let other: Height
    }

    /// The destination comes first; that it is a pod, or not, is kept until the source is known.
    mutating func ends(_ layout: PacketLayout, bothPods: Height) -> Height {
        let (call, answer) = services(layout)
        let (sourceOnly, destinationOnly, neither) = feed(layout)

        code.jump(
            .jumpIfEqual, 1, then: destinationOnly, else: neither, "only the destination a pod?")
        let sourceIsNoPod = code.prepend(
            Instruction(.loadScratch, Scratch.isDestinationPod), "is the destination a pod?")
        code.jump(.jumpIfEqual, 1, then: bothPods, else: sourceOnly, "destination a pod, too?")
        let sourceIsPod = code.prepend(
            Instruction(.loadScratch, Scratch.isDestinationPod), "is the destination a pod?")
        let source = end(
            layout, "source", at: layout.source,
            Outcomes(
                pod: sourceIsPod, localPod: settle, service: answer, other: sourceIsNoPod))

        let isPod = remember(1, then: source)
        let isNoPod = remember(0, then: source)
        // A link-local source goes to user space whatever is called, and an answer is one whoever
        // gets it.
        let called = linkLocal(layout, "source", at: layout.source, else: call)
        let localPod = special(
            layout, "source", at: layout.source, service: answer, else: settle)
        let destination = end(
            layout, "destination", at: layout.destination,
            Outcomes(pod: isPod, localPod: localPod, service: called, other: isNoPod))
        return code.goOn(to: destination)
    }

    private mutating func remember(_ isDestinationPod: UInt32, then next: Height) -> Height {
        code.goOn(to: next)
        return store(
            Instruction(.loadConstant, isDestinationPod), in: Scratch.isDestinationPod,
            isDestinationPod == 1 ? "the destination is a pod" : "the destination is no pod")
    }

    /// Most ends are pods, so that is asked first, unless a pod can be something else as well.
    private mutating func end(
        _ layout: PacketLayout, _ name: String, at place: AddressSource, _ outcomes: Outcomes
    ) -> Height {
        let family = layout.family
        let podNetworks = rule.addressPlan.podNetworks.of(family)
        let specialNetworks = serviceNetworks(family) + [Self.linkLocalNetwork]
        let areApart = podNetworks.allSatisfy { pods in
            !specialNetworks.contains(where: pods.overlaps)
        }
        let others = rule.puntsPodAddresses ? [] : Array(rule.podAddressesOutsideNetworks)
        let nodes = rule.puntsNodeAddresses ? [] : rule.nodeAddressesInPodNetworks

        // Whether other nodes take it for a pod, too, is for user space to look up.
        let local = code.isOne(
            of: others.of(family), at: place, then: outcomes.localPod, else: outcomes.other,
            "\(name) a pod of this node?")
        let outside =
            areApart
            ? special(layout, name, at: place, service: outcomes.service, else: local) : local
        let node = code.isOne(
            of: nodes.of(family), at: place, then: local, else: outcomes.pod, "\(name) a node?")
        let covered = code.isInside(
            rule.addressPlan.uncovered.of(family), at: place, then: local, else: node,
            "\(name) uncovered by")
        let pod = code.isInside(
            podNetworks, at: place, then: covered, else: outside, "\(name) in pods'")
        return areApart
            ? pod : special(layout, name, at: place, service: outcomes.service, else: pod)
    }

    /// Step 4, and before it what user space settles in any case.
    private mutating func special(
        _ layout: PacketLayout, _ name: String, at place: AddressSource, service: Height,
        else next: Height
    ) -> Height {
        let next = code.isInside(
            serviceNetworks(layout.family), at: place, then: service, else: next,
            "\(name) in services'")
        return linkLocal(layout, name, at: place, else: next)
    }

    private func serviceNetworks(_ family: IPAddress.Family) -> [IPNetwork] {
        rule.deduplicates ? rule.addressPlan.serviceNetworks.of(family) : []
    }

    /// Which pods have a link-local address is for user space to look up: there may be hundreds.
    private mutating func linkLocal(
        _ layout: PacketLayout, _ name: String, at place: AddressSource, else next: Height
    ) -> Height {
        guard layout.family == .ipv6 else { return next }
        return code.isInside(
            [Self.linkLocalNetwork], at: place, then: settle, else: next, "\(name) link-local:")
    }

    private static let linkLocalNetwork = IPNetwork(
        IPAddress(ipv6High: 0xfe80 << 48, low: 0), prefixBitCount: 10)

    /// Step 1, for packets whose ends are not both pods: whether one of them is a sensor.
    private mutating func feed(
        _ layout: PacketLayout
    ) -> (sourceOnly: Height, destinationOnly: Height, neither: Height) {
        let sensors = Array(rule.addressPlan.sensors).of(layout.family)
        let other = rule.puntsPodAddresses ? settle : keep
        // Where pods and nodes are not told apart, neither is the feed from other traffic.
        let feed = rule.puntsAddresses ? settle : drop
        let source = code.isOne(
            of: sensors, at: layout.source, then: feed, else: other, "source a sensor?")
        let destination = code.isOne(
            of: sensors, at: layout.destination, then: feed, else: other, "destination a sensor?")
        let neither = code.isOne(
            of: sensors, at: layout.destination, then: feed, else: source, "destination a sensor?")
        return rule.puntsAddresses
            ? (neither, neither, neither) : (source, destination, neither)
    }
}
