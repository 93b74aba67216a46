import Addressing
package import Packets
package import Time

/// The MAC addresses of other nodes' pods in a segment that several nodes share.
///
/// Where an uplink is a port of the pods' bridge, frames of other nodes' pods come as they are, and
/// those pods' own edges have reported them. If there is no pod address in a frame, as in DHCP or
/// between link-local addresses, only its source MAC address shows that. A pod is known by what no
/// router has passed on: its ARP requests, its neighbour solicitations, its datagrams to groups of
/// the link, and packets with a hop limit that hosts begin with. A machine that passes on packets of
/// others is no pod here, so what it sends is reported.
package struct RemotePods: Sendable {
    private var senders = BoundedTable<Key, Kind>(countMax: countMax, age: age)

    /// The most MAC addresses that are kept.
    static let countMax = 8192
    /// How long an address is kept after its last frame.
    static let age = Duration.seconds(600)

    private struct Key: Hashable, Sendable {
        let bridge: UInt32
        let mac: MACAddress
    }

    private enum Kind: Sendable {
        case pod
        case other
    }

    package init() {}

    /// The number of addresses that were forgotten for lack of room.
    package var evictedCount: UInt64 { senders.evictedCount }

    /// Looks at a frame that comes to a pod through a bridge with an uplink.
    ///
    /// - Returns: Whether a pod of another node sent it.
    package mutating func recognizes(
        _ headers: Headers, in frame: RawSpan, at point: ObservationPoint,
        _ addressPlan: AddressPlan, now: MonotonicTime
    ) -> Bool {
        guard point.hasOtherPorts, let bridge = point.bridge,
            addressPlan.macs.isElsewhere(headers.source, on: bridge),
            headers.source != point.bridgeMAC
        else { return false }
        let key = Key(bridge: bridge, mac: headers.source)
        let known = senders.touch(key, now: now)
        if known != .other, let kind = Self.kind(of: headers, in: frame, addressPlan), kind != known
        {
            senders.set(kind, for: key, now: now)
            return kind == .pod
        }
        return known == .pod
    }

    /// What a frame shows about its sender; nil for nothing.
    private static func kind(
        of headers: Headers, in frame: RawSpan, _ addressPlan: AddressPlan
    ) -> Kind? {
        if let address = headers.arpSender {
            guard headers.isARPRequest, addressPlan.isPodByNetwork(address) else { return nil }
            return .pod
        }
        guard let packet = headers.packet, packet.source.isRoutable else { return nil }
        guard addressPlan.isPod(packet.source) else { return .other }
        let isOfLink =
            headers.neighbourTarget != nil || packet.destination.isGroupOfLink
            || firstHopLimits.contains(hopLimit(of: frame, packet.source.family))
        return isOfLink && addressPlan.isPodByNetwork(packet.source) ? .pod : nil
    }

    /// The hop limits with which hosts send: Linux, Windows, and what is for the link alone.
    private static let firstHopLimits: [UInt8] = [64, 128, 255]

    /// The hop limit of a frame whose packet has a whole fixed header.
    private static func hopLimit(of frame: RawSpan, _ family: IPAddress.Family) -> UInt8 {
        let offset = family == .ipv4 ? IPv4Header.timeToLive : IPv6Header.hopLimit
        return frame.uint8(at: EthernetHeader.byteCount + offset)
    }
}

extension IPAddress {
    /// Whether no router passes on what goes to this address: a group of the link, or all ones.
    var isGroupOfLink: Bool {
        switch family {
        case .ipv4: low >> 8 == 0xe00000 || low == 0xffff_ffff
        case .ipv6: high >> 48 == 0xff02
        }
    }
}
