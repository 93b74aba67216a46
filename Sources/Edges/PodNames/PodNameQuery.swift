package import Addressing

import Netlink

/// What is known of an edge whose pod's name is asked for.
package struct PodNameQuery: Hashable, Sendable {
    package let incarnation: UInt64
    package let interface: String
    package let podMAC: MACAddress?
    /// Without those that every interface has of itself.
    package let podAddresses: Set<IPAddress>
    /// When it came, on the node's clock, in nanoseconds since 1970; nil if it was there before.
    package let cameAt: UInt64?

    package init(
        incarnation: UInt64, interface: String, podMAC: MACAddress?, podAddresses: Set<IPAddress>,
        cameAt: UInt64?
    ) {
        self.incarnation = incarnation
        self.interface = interface
        self.podMAC = podMAC
        self.podAddresses = podAddresses
        self.cameAt = cameAt
    }

    /// A runtime writes its file when the edge is there. But the agent may be late to see the edge, and
    /// the clock may be set meanwhile.
    private static let slackNanoseconds: UInt64 = 10_000_000_000

    /// Whether an attachment written at this time may be this edge's. Names of interfaces prove
    /// nothing, since they are used again, as addresses are: what is known must not contradict.
    func belongs(to attachment: CachedAttachment, writtenAt: UInt64) -> Bool {
        if let cameAt, cameAt - min(cameAt, writtenAt) > Self.slackNanoseconds { return false }
        var isProven = false
        if let podMAC, !attachment.macs.isEmpty {
            guard attachment.macs.contains(podMAC) else { return false }
            isProven = true
        }
        if !podAddresses.isEmpty, !attachment.addresses.isEmpty {
            guard !attachment.addresses.isDisjoint(with: podAddresses) else { return false }
            isProven = true
        }
        return isProven
    }

    /// The name of its pod: of those that may be, the one whose file knows the interface, and then the
    /// newest.
    package func name(
        among attachments: [(attachment: CachedAttachment, writtenAt: UInt64)]
    ) -> PodName? {
        func rank(_ one: (attachment: CachedAttachment, writtenAt: UInt64)) -> (Int, UInt64) {
            (one.attachment.nodeInterfaces.contains(interface) ? 1 : 0, one.writtenAt)
        }
        return attachments.filter { belongs(to: $0.attachment, writtenAt: $0.writtenAt) }
            .max { rank($0) < rank($1) }?.attachment.pod
    }
}

extension Veth {
    /// To ask for its pod's name; nil if it has one, or nothing is known by which it could be found.
    func unnamed(cameAt: UInt64?) -> PodNameQuery? {
        let addresses = (podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }
        guard pod == nil, podMAC != nil || !addresses.isEmpty else { return nil }
        return PodNameQuery(
            incarnation: incarnation, interface: link.name, podMAC: podMAC, podAddresses: Set(addresses),
            cameAt: cameAt)
    }
}
