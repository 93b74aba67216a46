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
}
