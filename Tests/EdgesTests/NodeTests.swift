import Addressing
import Edges
import KernelSupport
import Netlink
import Settings
import Testing

/// What podwire reads through libmnl, against what iproute2 made and prints.
@Suite("A node", .needsOwnNetwork, .timeLimit(.minutes(10)))
struct NodeTests {
    /// Two pods on a bridge, one routed, one uplink, and one pair with both ends here.
    private static let setUp = """
        set -e
        sysctl -qw net.ipv6.conf.default.disable_ipv6=0 net.ipv6.conf.default.accept_dad=0
        ip link add br0 type bridge && ip link set br0 up && ip addr add 10.244.1.1/24 dev br0
        for pod in one two three; do
            ip netns add kt$$-$pod
            ip link add v$pod type veth peer name eth0 netns kt$$-$pod
            ip link set v$pod up
            ip -n kt$$-$pod link set eth0 up
        done
        ip link set vone master br0; ip link set vtwo master br0
        ip -n kt$$-one addr add 10.244.1.2/24 dev eth0
        ip -n kt$$-one -6 addr add fd00:10:244:1::2/64 dev eth0 nodad
        ip -n kt$$-two addr add 10.244.1.3/24 dev eth0
        ip -n kt$$-three addr add 10.244.1.4/32 dev eth0
        ip link add here type veth peer there
        ip netns add kt$$-wan
        ip link add uplink type veth peer name eth0 netns kt$$-wan
        ip link set uplink up; ip addr add 192.168.100.1/24 dev uplink
        ip route add default via 192.168.100.100
        ip route add 10.244.2.0/24 via 192.168.100.2
        ip route add 10.244.3.0/24 nexthop via 192.168.100.3 nexthop via 192.168.100.4
        ip route add 10.244.1.4/32 dev vthree
        ip -n kt$$-one -j link show eth0
        """

    private static let tearDown =
        "for ns in $(ip netns list | cut -d' ' -f1 | grep ^kt); do ip netns del $ns; done"

    @Test("has the edges, addresses and routes that iproute2 gave it")
    func snapshot() throws {
        try inOwnNetwork {
            defer { try? shell(Self.tearDown) }
            let printed = try output(of: Self.setUp)
            let node = try Node.read(EdgeSelection())
            let statuses = Dictionary(
                uniqueKeysWithValues: node.veths.map { ($0.link.name, $0.status) })
            #expect(
                statuses == [
                    "vone": .captured, "vtwo": .captured, "vthree": .captured, "uplink": .uplink,
                    "here": .peerIsHere, "there": .peerIsHere,
                ])
            #expect(node.addressFailure == nil)

            let one = try #require(node.capturedVeths.first { $0.link.name == "vone" })
            let mac = try #require(one.podMAC)
            #expect(printed.contains("\"address\":\"\(mac)\""))
            let addresses = try #require(one.podAddresses)
            #expect(
                Set(addresses.filter { !$0.isLinkLocalIPv6 }.map(\.description)) == [
                    "10.244.1.2", "fd00:10:244:1::2",
                ])
            #expect(addresses.contains { $0.isLinkLocalIPv6 })
            #expect(node.link(one.link.master)?.name == "br0")
            let three = try #require(node.capturedVeths.first { $0.link.name == "vthree" })
            #expect(three.link.master == nil && three.link.isUp)

            let networks = [IPNetwork("10.244.0.0/16")].compactMap { $0 }
            let own = node.nodeAddresses(podNetworks: networks).map(\.description)
            for address in [
                "10.244.1.1", "192.168.100.1", "192.168.100.2", "192.168.100.3", "192.168.100.4",
            ] {
                #expect(own.contains(address))
            }
            // The default route does not lead into the pod networks, so its gateway is nobody.
            #expect(!own.contains("192.168.100.100"))
            #expect(node.uplinkAddresses.map(\.address.description) == ["192.168.100.1"])
        }
    }
}
