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
}
