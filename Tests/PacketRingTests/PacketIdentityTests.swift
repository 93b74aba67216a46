import Addressing
import BPF
import Glibc
import KernelSupport
import Linux
import PacketRing
import Testing
import Time

@Suite("What tells packets apart", .serialized, .needsOwnNetwork, .timeLimit(.minutes(15)))
struct PacketIdentityTests {
    private static let senderCount = 4
    private static let shape = Ring.Shape(byteCountMax: 64 << 20)

    /// Returns the identities of the next packets in a ring; waits for `count` of them, a minute at most.
    private static func identities(in ring: inout Ring, count: Int) throws -> [UInt64?] {
        var found: [UInt64?] = []
        let deadline = MonotonicTime.now + .seconds(60)
        while found.count < count, MonotonicTime.now < deadline {
            _ = try poll([(ring.fileDescriptor, .readable)], milliseconds: 100)
            while let block = ring.next() { add(block, to: &found) }
        }
        return found
    }

    private static func add(_ block: borrowing Block, to found: inout [UInt64?]) {
        var packets = block.packets
        while let packet = packets.next() { found.append(packet.identity) }
    }

    /// Sends the same short frame from several threads as fast as they can, in both directions.
    private static func flood(_ count: Int, senders: Int = senderCount) throws {
        let end = try interfaceIndex(senders % 2 == 0 ? "here" : "there")
        // Threads are in the network of the one that makes them.
        let thread = try Thread {
            guard let sender = try? PacketSender(on: end) else { return }
            let frame: [UInt8] =
                [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5]
                + [UInt8](repeating: 7, count: 46)
            for _ in 0..<count { try? sender.send(frame) }
        }
        if senders > 1 { try flood(count, senders: senders - 1) }
        thread.join()
    }

    @Test("is the same in all rings, and no other packet's, while packets are stamped")
    func stamped() throws {
        try inOwnNetwork {
            try shell("ip link add here type veth peer there; ip link set here up")
            try shell("ip link set there up")
            try awaitLinks()
            let stamps = try PacketStamps()
            let here = try interfaceIndex("here")
            var first = try Ring(on: here, .keepAll, shape: Self.shape)
            var second = try Ring(on: here, .keepAll, shape: Self.shape)
            let count = 20_000
            try Self.flood(count)
            let identities = [
                try Self.identities(in: &first, count: count * Self.senderCount),
                try Self.identities(in: &second, count: count * Self.senderCount),
            ]
            let known = identities.map { $0.compactMap(\.self).sorted() }
            #expect(known[0].count == count * Self.senderCount)
            #expect(identities[0].count == known[0].count)
            #expect(known[0] == known[1])
            // Frames that are the same and came in the same nanosecond may be taken for each other, and
            // here all are the same; some processors' clocks do not count each nanosecond.
            #expect(Set(known[0]).count > known[0].count * 9 / 10)
            withExtendedLifetime(stamps) {}
        }
    }

    @Test("is known of no packet that was not stamped")
    func unstamped() throws {
        try inOwnNetwork {
            try shell("ip link add here type veth peer there; ip link set here up")
            try shell("ip link set there up")
            try awaitLinks()
            var ring = try Ring(on: try interfaceIndex("here"), .keepAll, shape: Self.shape)
            try Self.flood(10)
            let identities = try Self.identities(in: &ring, count: 10 * Self.senderCount)
            #expect(identities.count == 10 * Self.senderCount)
            // Another program on the node may have packets stamped, and then these are as well.
            #expect(Set(identities.map { $0 == nil }).count == 1)
        }
    }

    @Test("is known of TCP segments from another namespace, which the kernel does not stamp")
    func segments() throws {
        try inOwnNetwork {
            let pod = "identity\(getpid())"
            defer { try? shell("ip netns del \(pod)") }
            try shell(
                """
                ip netns add \(pod)
                # Between the two rings a frame of the kernel's own could come to one of them alone.
                no='sysctl -qw net.ipv6.conf.default.disable_ipv6=1'; $no && ip netns exec \(pod) $no
                ip link add here type veth peer there netns \(pod)
                ip addr add 192.0.2.1/24 dev here && ip -n \(pod) addr add 192.0.2.2/24 dev there
                ip link set here up && ip -n \(pod) link set there up
                """)
            try awaitLinks()
            let stamps = try PacketStamps()
            let here = try interfaceIndex("here")
            var first = try Ring(on: here, .keepAll, shape: Self.shape)
            var second = try Ring(on: here, .keepAll, shape: Self.shape)
            let any = SocketAddress(try #require(IPAddress("192.0.2.1")), port: 0)
            let listener = try Listener(at: any)
            let script = "head -c 20000 /dev/zero > /dev/tcp/192.0.2.1/\(listener.local.port)"
            try shell("ip netns exec \(pod) bash -c '\(script)'")
            // Three for the handshake, and data, its acknowledgement and the end.
            let known = try Self.identities(in: &first, count: 6)
            let others = try Self.identities(in: &second, count: known.count)
            #expect(known.count >= 6 && !known.contains(nil))
            #expect(known == Array(others.prefix(known.count)))
            withExtendedLifetime(stamps) {}
        }
    }
}
