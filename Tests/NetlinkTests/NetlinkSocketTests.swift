import Addressing
import KernelSupport
import Linux
import Netlink
import Testing

@Suite("A netlink socket", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct NetlinkSocketTests {
    @Test("says what the kernel says about a namespace that is not there")
    func unknownNamespace() throws {
        try inOwnNetwork {
            var socket = try NetlinkSocket()
            #expect(throws: SystemError("RTM_GETADDR of namespace 77", .invalidArgument)) {
                _ = try socket.addresses(inNamespace: 77)
            }
            #expect(try socket.links().map(\.name) == ["lo"])
        }
    }

    @Test("says how large the packets of an interface may become")
    func packetSizes() throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add plain type veth peer large
                ip link set large gso_max_size 185000 && ip link set large gro_max_size 196608
                """)
            var socket = try NetlinkSocket()
            let links = try socket.links()
            let plain = try #require(links.first { $0.name == "plain" })
            #expect(plain.gsoByteCountMax == 65_536 && plain.groByteCountMax == 65_536)
            let large = try #require(links.first { $0.name == "large" })
            #expect(large.gsoByteCountMax == 185_000 && large.groByteCountMax == 196_608)
        }
    }

    @Test("lists what a bridge knows behind a port, and stops where it knows too much")
    func fullBridge() throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add br0 address 02:00:00:00:00:01 type bridge && ip link set br0 up
                for port in full quiet; do
                    ip link add $port type veth peer name $port-peer
                    ip link set $port master br0 up && ip link set $port-peer up
                    until bridge link show dev $port | grep -q forwarding; do sleep 0.01; done
                done
                seq 1 20000 | awk '{ printf "fdb add 02:00:00:01:%02x:%02x dev full master dynamic\\n",
                    $1 / 256, $1 % 256 }' | bridge -batch -
                bridge fdb add 02:00:00:02:00:01 dev quiet master dynamic
                """)
            var socket = try NetlinkSocket()
            let links = try socket.links()
            let index = { name in try #require(links.first { $0.name == name }).index }
            let (bridge, full, quiet) = try (index("br0"), index("full"), index("quiet"))
            let many = try NetlinkSocket.forwardingEntries(behind: full, countMax: 500)
            #expect((500..<2000).contains(many.count))
            #expect(many.allSatisfy { $0.port == full && $0.bridge == bridge })
            let learned = try NetlinkSocket.forwardingEntries(behind: quiet, countMax: 500)
                .filter { !$0.isLocal }
            #expect(learned.map(\.mac.description) == ["02:00:00:02:00:01"])
            let own = try NetlinkSocket.forwardingEntries(behind: bridge, countMax: 500)
            #expect(!own.isEmpty && own.allSatisfy { $0.port == bridge && $0.isLocal })
            #expect(try NetlinkSocket.forwardingEntries(behind: 7777, countMax: 500) == [])
        }
    }
}
