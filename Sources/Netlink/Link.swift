package import Addressing
import CMnl
import Glibc
import Linux
import Packets

/// A network interface, as the kernel last described it (rtnetlink(7), `<linux/if_link.h>`).
package struct Link: Equatable, Sendable {
    /// The kernel's number of the interface.
    package let index: UInt32
    /// The name: `eth0`.
    package var name = ""
    /// The driver: `veth`, `bridge`, `vxlan`; empty for hardware and the loopback.
    package var kind = ""
    /// The MAC address, if it has one.
    package var mac: MACAddress?
    /// Whether it is up.
    package var isUp = false
    /// Whether it is the loopback.
    package var isLoopback = false
    /// The index of the bridge, bond or VRF that it is a port of.
    package var master: UInt32?
    /// The index of a veth's other end in that end's namespace; 0 if the other end is gone.
    package var peerIndex: UInt32?
    /// This namespace's id for the other end's namespace; nil if the other end is here.
    package var peerNamespace: Int32?
    /// The longest packet behind the Ethernet header (MTU); nil if it is not known.
    package var mtu: UInt32?
    /// The largest GSO packet that the interface sends, of either IP version.
    package var gsoByteCountMax = Link.defaultByteCountMax
    /// The largest packet that the interface makes of those it receives, of either IP version.
    package var groByteCountMax = Link.defaultByteCountMax

    /// The largest packet of an interface by default: `GSO_LEGACY_MAX_SIZE` of the kernel.
    package static let defaultByteCountMax = 65_536

    /// An interface of which only the index is known.
    package init(index: UInt32) { self.index = index }
}

/// An address of an interface.
package struct InterfaceAddress: Hashable, Sendable {
    /// The interface's index.
    package let interfaceIndex: UInt32
    /// The address.
    package let address: IPAddress
    /// The length of the prefix of its network.
    package let prefixBitCount: Int

    /// An address by its parts.
    package init(interfaceIndex: UInt32, address: IPAddress, prefixBitCount: Int) {
        self.interfaceIndex = interfaceIndex
        self.address = address
        self.prefixBitCount = prefixBitCount
    }
}

/// A route of the main table.
///
/// A route with several next hops is one value for each.
package struct Route: Hashable, Sendable {
    /// The network that the route leads to.
    package let destination: IPNetwork
    /// The next hop, if it is not on the link.
    package let gateway: IPAddress?
    /// The index of the interface, if the route has one.
    package let interfaceIndex: UInt32?
    /// The priority among routes to one network: the kernel takes the lowest.
    package let metric: UInt32

    /// A route by its parts.
    package init(
        destination: IPNetwork, gateway: IPAddress?, interfaceIndex: UInt32?, metric: UInt32 = 0
    ) {
        self.destination = destination
        self.gateway = gateway
        self.interfaceIndex = interfaceIndex
        self.metric = metric
    }

    /// Whether it is a default route.
    package var isDefault: Bool { destination.prefixBitCount == 0 }
}

extension Link {
    /// `IFLA_GSO_IPV4_MAX_SIZE` and `IFLA_GRO_IPV4_MAX_SIZE`, which headers before Linux 6.3 lack.
    private static let ipv4GSOMaxSize = 63
    private static let ipv4GROMaxSize = 64

    /// Reads an RTM_NEWLINK; nil if it is too short to be one.
    package init?(_ message: NetlinkMessage) {
        guard let header = message.header(ifinfomsg.self), header.ifi_index > 0 else { return nil }
        index = UInt32(header.ifi_index)
        isUp = header.ifi_flags & UInt32(IFF_UP) != 0
        isLoopback = header.ifi_flags & UInt32(IFF_LOOPBACK) != 0
        message.forEachAttribute(after: ifinfomsg.self) { type, value in
            switch type {
            case IFLA_IFNAME: name = value.text
            case IFLA_ADDRESS where value.byteCount == 6: mac = MACAddress(value, at: 0)
            case IFLA_MTU: mtu = value.uint32
            case IFLA_MASTER: master = value.uint32
            case IFLA_LINK: peerIndex = value.uint32
            case IFLA_LINK_NETNSID: peerNamespace = value.uint32.map { Int32(bitPattern: $0) }
            case IFLA_GSO_MAX_SIZE, Self.ipv4GSOMaxSize:
                gsoByteCountMax = max(gsoByteCountMax, value.uint32.map { Int($0) } ?? 0)
            case IFLA_GRO_MAX_SIZE, Self.ipv4GROMaxSize:
                groByteCountMax = max(groByteCountMax, value.uint32.map { Int($0) } ?? 0)
            case IFLA_LINKINFO:
                NetlinkMessage.forEachAttribute(in: value) { type, value in
                    if type == IFLA_INFO_KIND { kind = value.text }
                }
            default: break
            }
        }
    }
}

extension InterfaceAddress {
    /// Reads an RTM_NEWADDR; nil for families other than IPv4 and IPv6.
    ///
    /// The address of a point-to-point link is that of the near end.
    package init?(_ message: NetlinkMessage) {
        guard let header = message.header(ifaddrmsg.self),
            let family = IPAddress.Family(native: header.ifa_family)
        else { return nil }
        var near: IPAddress?
        var any: IPAddress?
        message.forEachAttribute(after: ifaddrmsg.self) { type, value in
            guard value.byteCount == family.byteCount else { return }
            switch type {
            case IFA_LOCAL: near = IPAddress(family, value, at: 0)
            case IFA_ADDRESS: any = IPAddress(family, value, at: 0)
            default: break
            }
        }
        guard let address = near ?? any else { return nil }
        self.address = address
        interfaceIndex = header.ifa_index
        prefixBitCount = Int(header.ifa_prefixlen)
    }
}

extension Route {
    /// Reads an RTM_NEWROUTE: a route for each next hop, and none for other tables and types.
    package static func routes(in message: NetlinkMessage, ofAnyTable: Bool = false) -> [Route] {
        guard let header = message.header(rtmsg.self),
            let family = IPAddress.Family(native: header.rtm_family),
            header.rtm_type == UInt8(RTN_UNICAST)
        else { return [] }
        var hop = NextHop()
        var hops: [NextHop] = []
        var destination = family == .ipv4 ? IPAddress(ipv4: 0) : IPAddress(ipv6High: 0, low: 0)
        var table = UInt32(header.rtm_table)
        var metric: UInt32 = 0
        message.forEachAttribute(after: rtmsg.self) { type, value in
            switch type {
            case Int(RTA_DST.rawValue) where value.byteCount == family.byteCount:
                destination = IPAddress(family, value, at: 0)
            case Int(RTA_TABLE.rawValue): table = value.uint32 ?? table
            case Int(RTA_PRIORITY.rawValue): metric = value.uint32 ?? 0
            case Int(RTA_MULTIPATH.rawValue): hops = NextHop.list(in: value, family)
            default: hop.read(type, value, family)
            }
        }
        guard ofAnyTable || table == UInt32(RT_TABLE_MAIN.rawValue) else { return [] }
        let network = IPNetwork(destination, prefixBitCount: Int(header.rtm_dst_len))
        return (hops.isEmpty ? [hop] : hops).map {
            Route(
                destination: network, gateway: $0.gateway, interfaceIndex: $0.interfaceIndex,
                metric: metric)
        }
    }

    private struct NextHop {
        var gateway: IPAddress?
        var interfaceIndex: UInt32?

        mutating func read(_ type: Int, _ value: RawSpan, _ family: IPAddress.Family) {
            switch type {
            case Int(RTA_OIF.rawValue): interfaceIndex = value.uint32
            case Int(RTA_GATEWAY.rawValue) where value.byteCount == family.byteCount:
                gateway = IPAddress(family, value, at: 0)
            case Int(RTA_VIA.rawValue):
                // A gateway of the other family: `struct rtvia`, a family and an address.
                guard value.byteCount >= 2,
                    let other = IPAddress.Family(
                        native: UInt8(truncatingIfNeeded: value.nativeUInt16(at: 0))),
                    value.byteCount == 2 + other.byteCount
                else { return }
                gateway = IPAddress(other, value, at: 2)
            default: break
            }
        }

        /// Reads RTA_MULTIPATH: a `struct rtnexthop` and attributes for each hop.
        static func list(in bytes: RawSpan, _ family: IPAddress.Family) -> [NextHop] {
            var hops: [NextHop] = []
            var offset = 0
            let fixed = MemoryLayout<rtnexthop>.size
            while offset + fixed <= bytes.byteCount {
                let rest = bytes.extracting(offset..<bytes.byteCount)
                let byteCount = Int(rest.nativeUInt16(at: 0))
                guard byteCount >= fixed, byteCount <= rest.byteCount else { break }
                var hop = NextHop()
                hop.interfaceIndex = rest.extracting(4..<8).uint32
                NetlinkMessage.forEachAttribute(in: rest.extracting(fixed..<byteCount)) {
                    hop.read($0, $1, family)
                }
                hops.append(hop)
                offset += (byteCount + 3) & ~3
            }
            return hops
        }
    }
}

extension IPAddress.Family {
    /// The family with the kernel's number AF_INET or AF_INET6.
    init?(native number: UInt8) {
        switch CInt(number) {
        case AF_INET: self = .ipv4
        case AF_INET6: self = .ipv6
        default: return nil
        }
    }

    var native: UInt8 { UInt8(self == .ipv4 ? AF_INET : AF_INET6) }
}
