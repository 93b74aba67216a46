import Addressing
import BPF

/// Hosts and networks.
extension Conditions {
    /// An address whose bits outside a mask do not count.
    struct IPv4Network {
        var address: UInt32
        var mask: UInt32
    }

    /// Whether a packet of IPv4, ARP or RARP has an address.
    mutating func matchAddress(
        _ networks: [IPv4Network], _ direction: Direction, in header: Header?
    ) throws(FilterError) -> Part {
        let (number, source, destination): (UInt32, UInt32, UInt32)
        switch header {
        case nil:
            let ipv4 = try matchAddress(networks, direction, in: .ip)
            guard layers.labelCount == 0 else { return ipv4 }
            let arp = try matchAddress(networks, direction, in: .arp)
            return graph.any([ipv4, arp, try matchAddress(networks, direction, in: .rarp)])
        case .ip: (number, source, destination) = (Self.ipv4, 12, 16)
        case .arp: (number, source, destination) = (0x0806, 14, 24)
        case .rarp: (number, source, destination) = (0x8035, 14, 24)
        case .some(let header): throw noAddress(header, "an IPv4 address")
        }
        let carriesHeader = try matchCarried(number)
        var hosts: [Part] = []
        for network in networks {
            hosts.append(
                try both(direction) { (this: inout Self, isSource) throws(FilterError) in
                    this.match(
                        .network, isSource ? source : destination, .word, network.address,
                        mask: network.mask,
                        Note(isSource ? "the source?" : "the destination?", .address))
                })
        }
        return graph.and(carriesHeader, graph.any(hosts))
    }

    /// Whether an IPv6 packet has an address of a network.
    mutating func matchAddress(
        _ networks: [IPNetwork], _ direction: Direction, in header: Header?
    ) throws(FilterError) -> Part {
        if let header, header != .ip6 { throw noAddress(header, "an IPv6 address") }
        let carriesIPv6 = try matchCarried(Self.ipv6)
        var hosts: [Part] = []
        for network in networks {
            hosts.append(
                try both(direction) { (this: inout Self, isSource) throws(FilterError) in
                    this.matchNetwork(network, at: isSource ? 8 : 24, isSource)
                })
        }
        return graph.and(carriesIPv6, graph.any(hosts))
    }

    private mutating func matchNetwork(_ network: IPNetwork, at offset: UInt32, _ isSource: Bool)
        -> Part
    {
        let words = network.address.words
        let masks = [
            UInt32(network.mask.high >> 32), UInt32(truncatingIfNeeded: network.mask.high),
            UInt32(network.mask.low >> 32), UInt32(truncatingIfNeeded: network.mask.low),
        ]
        var parts: [Part] = []
        for index in 0..<4 where masks[index] != 0 {
            parts.append(
                match(
                    .network, offset + 4 * UInt32(index), .word, words[index], mask: masks[index],
                    isSource ? "the source?" : "the destination?"))
        }
        return graph.all(parts)
    }

    private func noAddress(_ header: Header, _ what: String) -> FilterError {
        failure("\(what) cannot follow '\(header.name)'")
    }

    /// Whether a frame has an Ethernet address.
    mutating func matchMAC(_ mac: [UInt8], _ direction: Direction) throws(FilterError) -> Part {
        let isFrame = try matchEthernet()
        let host = try both(direction) { (this: inout Self, isSource) throws(FilterError) in
            this.match(
                .header, isSource ? 6 : 0, mac,
                isSource ? "the source's MAC address?" : "the destination's MAC address?")
        }
        return isFrame.map { graph.and($0, host) } ?? host
    }

    /// The test whether there is an Ethernet header; nil if there is one for certain.
    private mutating func matchEthernet() throws(FilterError) -> Part? {
        guard layers.link == .ethernet else {
            throw failure("behind pppoes there is no Ethernet header")
        }
        guard layers.isInTunnel, let header = layers.header.variable,
            let payload = layers.payload.variable
        else { return nil }
        return graph.not(
            graph.test(header, .equal, payload, "no Ethernet header in the tunnel?"))
    }

    /// `broadcast`, behind the name of a protocol or behind nothing.
    mutating func matchBroadcast(_ header: Header?) throws(FilterError) -> Part {
        switch header {
        case nil, .link: return try matchMAC([UInt8](repeating: 0xff, count: 6), .destination)
        case .ip:
            throw failure(
                "'ip broadcast' needs the network's mask, which a capture of many pods has not; "
                    + "'broadcast' is for Ethernet's")
        case .some(let header):
            throw failure("'\(header.name) broadcast' does not exist; ether broadcast does")
        }
    }

    /// `multicast`, behind the name of a protocol or behind nothing.
    mutating func matchMulticast(_ header: Header?) throws(FilterError) -> Part {
        switch header {
        case nil, .link:
            let isFrame = try matchEthernet()
            let first = load(.header, 0, .byte)
            let group = graph.test(first, .anyBit, graph.values.constant(1), "a group's address?")
            return isFrame.map { graph.and($0, group) } ?? group
        case .ip:
            let isIPv4 = try matchCarried(Self.ipv4)
            // All above, too, as libpcap up to 1.10 has it: the broadcast to all is one of them.
            return graph.and(
                isIPv4, compare(.network, 16, .byte, .atLeast, 224, "a group's address?"))
        case .ip6:
            let isIPv6 = try matchCarried(Self.ipv6)
            return graph.and(
                isIPv6, match(.network, 24, .byte, 0xff, "a group's address?"))
        case .some(let header):
            throw failure(
                "'\(header.name) multicast' does not exist; ether, ip and ip6 multicast do")
        }
    }
}
