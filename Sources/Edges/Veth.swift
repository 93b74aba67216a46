package import Addressing
package import Netlink
import Settings

/// A veth or netkit device of this node, with what is known of the pod behind it.
package struct Veth: Equatable, Sendable {
    /// The incarnation of the interface: another one each time its index is used again.
    package let incarnation: UInt64
    /// The interface.
    package let link: Link
    /// Whether the veth is captured, or why not.
    package let status: EdgeStatus
    /// Where it is captured, if it is.
    package let tap: EdgeTap
    /// The pod's own addresses; nil if they are not known.
    package let podAddresses: [IPAddress]?
    /// The pod's own MAC address; nil if it is not known.
    package let podMAC: MACAddress?
    /// The largest GSO packet that the pod's end sends; nil if it is not known.
    package let podGSOByteCountMax: Int?
    /// The pod's addresses outside the pod networks to which the node's routes do not lead this way.
    package let claimedAddresses: Set<IPAddress>
    /// The addresses of the pod's other interfaces, such as those on its loopback.
    package let otherAddresses: [IPAddress]
    /// All MAC addresses that live behind the veth, if it is a port of a bridge.
    package let macs: [MACAddress]
    /// The sources of frames from the pod that are not known as anybody's.
    ///
    /// Only a running agent sees them.
    package let senders: [IPAddress]
    /// The pod's name in Kubernetes; nil if it is not known.
    package let pod: PodName?

    /// A veth by its parts.
    init(
        incarnation: UInt64, link: Link, status: EdgeStatus, tap: EdgeTap = .host,
        podAddresses: [IPAddress]?,
        podMAC: MACAddress?, podGSOByteCountMax: Int?, claimedAddresses: Set<IPAddress>,
        otherAddresses: [IPAddress], macs: [MACAddress] = [], senders: [IPAddress], pod: PodName?
    ) {
        (self.incarnation, self.link, self.status, self.tap) = (incarnation, link, status, tap)
        self.podGSOByteCountMax = podGSOByteCountMax
        (self.podAddresses, self.podMAC) = (podAddresses, podMAC)
        self.claimedAddresses = claimedAddresses
        (self.otherAddresses, self.macs) = (otherAddresses, macs)
        (self.senders, self.pod) = (senders, pod)
    }

    /// The veth with the MAC addresses that live behind it.
    func with(macs: [MACAddress]) -> Self {
        Self(
            incarnation: incarnation, link: link, status: status, tap: tap,
            podAddresses: podAddresses, podMAC: podMAC, podGSOByteCountMax: podGSOByteCountMax,
            claimedAddresses: claimedAddresses, otherAddresses: otherAddresses, macs: macs,
            senders: senders, pod: pod)
    }

    /// All addresses that are known behind the veth.
    package var addresses: [IPAddress] {
        let all = (podAddresses ?? []) + otherAddresses
        return claimedAddresses.isEmpty ? all : all.filter { !claimedAddresses.contains($0) }
    }

    /// Whether it is an interface inside a pod that has no end in the node's namespace.
    package var isPodInterface: Bool { tap.podTap.map { !$0.hasHostEnd } ?? false }

    /// Whether the veth is an edge that is captured.
    package var isCaptured: Bool { status == .captured }

    /// The largest packet that passes the veth in either direction.
    ///
    /// Towards the pod the kernel segments what is larger than the host's end sends
    /// (`gso_features_check` in its dev.c), whatever the bridge or the uplink hands over. From the pod
    /// come packets of up to what the pod's end sends, or what GRO at the host's end makes of them.
    package var frameByteCountMax: Int {
        max(link.gsoByteCountMax, link.groByteCountMax, podGSOByteCountMax ?? 0)
    }

    /// Whether a veth is captured, or why not.
    package enum EdgeStatus: Equatable, Sendable, CaseIterable {
        case captured
        case peerIsHere
        case peerIsGone
        case uplink
        case excluded
        case outsidePodNetworks
        /// The kernel shows half of its packets at the host's end, and the pod's end is not to be had.
        case needsPodTap
        /// The pod's namespace has lost its file, so the pod is being deleted.
        case namespaceGone

        /// The status in words.
        package var description: String {
            switch self {
            case .captured: "captured"
            case .peerIsHere: "no edge: its other end is in this namespace as well"
            case .peerIsGone: "no edge: its other end is gone"
            case .uplink: "no edge: the node reaches others through it, so it is an uplink"
            case .excluded: "not captured: its name is excluded"
            case .outsidePodNetworks: "not captured: its pod has no address in a pod network"
            case .needsPodTap:
                """
                not captured: the host's end of a netkit pair shows half of its packets, so it needs \
                \(Setting.tap.option) pod or auto, and its pod's file in \(Setting.namespaceFolder.option)
                """
            case .namespaceGone: "no edge: its pod is being deleted"
            }
        }

        /// The status of an edge by the settings.
        init(_ verdict: EdgeSelection.Verdict) {
            switch verdict {
            case .captured: self = .captured
            case .excluded: self = .excluded
            case .outsidePodNetworks: self = .outsidePodNetworks
            }
        }

        /// The status of a link by itself, before settings count.
        init(of link: Link, isUplink: Bool) {
            if isUplink {
                self = .uplink
            } else if link.peerIndex == 0 {
                self = .peerIsGone
            } else {
                self = link.peerNamespace == nil ? .peerIsHere : .captured
            }
        }
    }
}

extension Veth {
    /// The query for the pod's name; nil if it has one, or nothing is known to find it by.
    ///
    /// The time is when the edge appeared, as `PodNameQuery.appearedAt` has it.
    func nameQuery(appearedAt time: UInt64?) -> PodNameQuery? {
        let addresses = (podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }
        guard pod == nil, podMAC != nil || !addresses.isEmpty else { return nil }
        return PodNameQuery(
            incarnation: incarnation, interface: link.name, podMAC: podMAC,
            podAddresses: Set(addresses), appearedAt: time)
    }
}
