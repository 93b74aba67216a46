import Addressing
import BPF
import FuzzSupport
import Glibc
import KernelSupport
import Linux
import ObservationFixtures
import PacketRing
import Packets
import Testing
import Time

/// Wire forms, compared with what the kernel makes of the same frames.
///
/// A bridge joins two edges without offloads. So the kernel itself makes segments and checksums of a
/// frame that comes in at one edge before it sends them out of the other. The wire form of the frame
/// that came in must be what went out, byte by byte.
@Suite("A wire form and the kernel's own", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct WireFormInKernelTests {
    /// The commands that make two veth pairs at a bridge.
    ///
    /// The offloads of the ends at the bridge are off, so the kernel cuts segments, completes checksums
    /// and writes tags in software before a frame is out.
    private static let bridge = """
        set -e
        sysctl -qw net.bridge.bridge-nf-call-iptables=0 2>/dev/null || true
        sysctl -qw net.bridge.bridge-nf-call-ip6tables=0 2>/dev/null || true
        ip link add middle type bridge forward_delay 0 mcast_snooping 0 && ip link set middle up
        for end in a b; do
            ip link add ${end}1 type veth peer ${end}0
            ip link set ${end}1 master middle
            ethtool -K ${end}1 tso off gso off tx-udp-segmentation off tx off txvlan off \\
                tx-vlan-stag-hw-insert off >/dev/null
            ip link set ${end}0 up && ip link set ${end}1 up
        done
        """

    private static func ring(_ name: String) throws -> Ring {
        try Ring(
            on: interfaceIndex(name), .keepAll, shape: Ring.Shape(byteCountMax: 32 << 20))
    }

    @Test("are the same for any headers", arguments: 0..<3 as Range<UInt64>)
    func crafted(seed: UInt64) throws {
        try inOwnNetwork {
            try shell(Self.bridge)
            try awaitLinks()
            var near = try Self.ring("a1")
            var far = try Self.ring("b1")
            let sender = try PacketSender(on: interfaceIndex("a0"), leavesOffload: true)
            var generator = RandomNumbers(seed)
            var segmentCount = 0
            for _ in 0..<200 {
                var frame = GSOPacket.random(with: &generator, payloadByteCountMax: 9000)
                frame.isSumRight = true
                // The kernel cuts UDP into at most 128 segments, and sends no frame that is longer
                // than a cable takes unless it is a GSO packet.
                if frame.segmentByteCount > 0 {
                    frame.segmentByteCount = max(
                        frame.segmentByteCount, frame.payload.count / 100, 8)
                }
                if frame.segmentByteCount == 0 || frame.segmentByteCount > 1200 {
                    frame.payload.removeLast(max(0, frame.payload.count - 1200))
                    frame.segmentByteCount = 0
                }
                if frame.segmentCount == 1 { frame.segmentByteCount = 0 }
                try sender.send(frame.offload.bytes + frame.bytes)
                segmentCount += frame.segmentCount
            }
            let made = try Formed(from: &near, count: segmentCount)
            let expected = try Formed(from: &far, count: segmentCount, isOutgoing: true)
            #expect(made.gsoPacketCount > 30)
            #expect(made.frames.count == segmentCount)
            Self.compare(made, expected)
        }
    }

    private static func compare(_ made: Formed, _ expected: Formed) {
        #expect(made.obstacles.isEmpty && expected.repairedCount == 0)
        #expect(made.frames.count == expected.frames.count)
        let difference = zip(made.frames, expected.frames).enumerated().first { $1.0 != $1.1 }
        guard let (index, (one, other)) = difference else { return }
        Issue.record("frame \(index)\n\(one.prefix(150))\n\(other.prefix(150))")
    }

    /// Exchanges a stream in both directions, its end, and datagrams that the device is to cut.
    private static func talk(_ names: (String, String), _ addresses: (String, String)) -> String {
        """
        ip netns exec \(names.1) timeout 120 python3 -c '
        import socket
        family = socket.AF_INET6 if ":" in "\(addresses.1)" else socket.AF_INET
        server = socket.create_server(("\(addresses.1)", 5001), family=family)
        print(flush=True)
        stream = server.accept()[0]
        count = 0
        while data := stream.recv(1 << 20):
            count += len(data)
            stream.sendall(data[::-1])
        print(count)
        stream.close()
        ' > /tmp/\(names.1) & \
        server=$!
        while ! [ -s /tmp/\(names.1) ]; do sleep 0.01; done
        ip netns exec \(names.0) timeout 120 python3 -c '
        import socket, threading
        family = socket.AF_INET6 if ":" in "\(addresses.1)" else socket.AF_INET
        stream = socket.create_connection(("\(addresses.1)", 5001))
        def send():
            stream.sendall(bytes(i * i % 251 for i in range(700001)))
            stream.shutdown(socket.SHUT_WR)
        thread = threading.Thread(target=send)
        thread.start()
        count = 0
        while data := stream.recv(1 << 20): count += len(data)
        thread.join()
        assert count == 700001
        datagram = socket.socket(family, socket.SOCK_DGRAM)
        datagram.connect(("\(addresses.1)", 5002))
        for size, count in (1200, 30001), (1, 100), (1472 - 20, 1000), (500, 1000):
            datagram.setsockopt(socket.IPPROTO_UDP, 103, size)
            try: datagram.send(bytes(i % 253 for i in range(count)))
            except ConnectionRefusedError: pass
        ' && wait $server
        """
    }

    /// Sends with BIG TCP, in which a frame may be longer than its length field says.
    @Test(
        "are the same for what two pods say to each other",
        arguments: zip([.ipv4, .ipv6, .ipv6] as [IPAddress.Family], [65_536, 65_536, 120_000]))
    func spoken(family: IPAddress.Family, byteCountMax: Int) throws {
        let name = "wf\(getpid())-\(family)-\(byteCountMax)"
        let names = (name + "a", name + "b")
        let addresses =
            family == .ipv4 ? ("10.244.1.2", "10.244.1.3") : ("fd00:244::2", "fd00:244::3")
        try inOwnNetwork {
            defer {
                try? shell("rm -f /tmp/\(names.1)")
                try? shell("ip netns del \(names.0) 2>&-; ip netns del \(names.1) 2>&-")
            }
            try shell(Self.bridge)
            try awaitLinks()
            for (name, end, address) in [
                (names.0, "a0", addresses.0), (names.1, "b0", addresses.1),
            ] {
                try shell(
                    """
                    set -e
                    ip netns add \(name)
                    ip link set \(end) netns \(name)
                    ip netns exec \(name) sysctl -qw net.ipv4.tcp_timestamps=1
                    ip -n \(name) link set \(end) gso_max_size \(byteCountMax)
                    ip -n \(name) link set \(end) up
                    ip -n \(name) addr add \(address)/\(family == .ipv4 ? "24" : "64 nodad") \\
                        dev \(end)
                    """)
            }
            var near = try Self.ring("a1")
            var far = try Self.ring("b1")
            try shell(Self.talk(names, addresses))
            let (a, b) = (try Formed.both(from: &near), try Formed.both(from: &far))
            #expect(a.fromPod.gsoPacketCount > 5 && b.fromPod.gsoPacketCount > 5)
            #expect(a.fromPod.longestByteCount > 10_000)
            if byteCountMax > 65_536 {
                #expect(max(a.fromPod.longestByteCount, b.fromPod.longestByteCount) > 65_600)
            }
            #expect(a.fromPod.offloads.contains { $0.segmentation == .udp })
            #expect(a.fromPod.frames.count > 480 && b.fromPod.frames.count > 480)
            // Between the two edges a frame may overtake another, on another processor.
            Self.compare(a.fromPod.sorted([5001, 5002]), b.toPod.sorted([5001, 5002]))
            Self.compare(b.fromPod.sorted([5001, 5002]), a.toPod.sorted([5001, 5002]))
        }
    }

    @Test("are the same for tags, which the kernel takes out")
    func tags() throws {
        try inOwnNetwork {
            try shell("ip link add here type veth peer there; ip link set here up")
            try shell("ip link set there up")
            try awaitLinks()
            var ring = try Self.ring("here")
            let sender = try PacketSender(on: interfaceIndex("there"))
            let kinds: [[UInt16]] = [[0x8100], [0x88a8], [0x88a8, 0x8100], []]
            let frames = kinds.map { types in
                GSOPacket().with { frame in
                    frame.tags = types.map { VLANTag(tag: 0xa064, etherType: $0) }
                    frame.payload = Array(0..<100)
                }.bytes
            }
            for frame in frames { try sender.send(frame) }
            let seen = try Formed(from: &ring, count: 4)
            #expect(seen.frames == frames)
            #expect(seen.tags.map { $0?.etherType } == [0x8100, 0x88a8, 0x88a8, nil])
        }
    }

    /// The near end of a pair cuts and completes what it sends; the other end chains what it receives.
    @Test(
        "are the same for what the kernel has chained",
        arguments: zip(
            [.ipv4, .ipv4, .ipv6, .ipv6] as [IPAddress.Family], [false, true, false, true]))
    func chained(family: IPAddress.Family, isUDP: Bool) throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add here type veth peer there
                ethtool -K there tso off gso off tx-udp-segmentation off tx off >/dev/null
                ethtool -K here gro on rx-gro-list on >/dev/null
                ip link set here up; ip link set there up
                """)
            try awaitLinks()
            var ring = try Self.ring("here")
            var sent = try Self.ring("there")
            let sender = try PacketSender(on: interfaceIndex("there"), leavesOffload: true)
            let frame = GSOPacket().with {
                ($0.family, $0.isUDP) = (family, isUDP)
                $0.payload = (0..<7900).map { UInt8(truncatingIfNeeded: $0 * $0) }
                $0.segmentByteCount = 1000
            }
            try sender.send(frame.offload.bytes + frame.bytes)
            let expected = try Formed(from: &sent, count: 8, isOutgoing: true)
            let seen = try Formed(from: &ring, count: 8)
            #expect(expected.gsoPacketCount == 0 && expected.frames.count == 8)
            #expect(seen.gsoPacketCount > 0)
            #expect(seen.offloads.allSatisfy { !$0.needsChecksum })
            #expect(seen.obstacles.isEmpty && seen.frames == expected.frames)
        }
    }

    @Test("are the same in a ring and in the one that is to take its place")
    func successor() throws {
        try inOwnNetwork {
            try shell("ip link add here type veth peer there; ip link set here up")
            try shell("ip link set there up")
            try awaitLinks()
            let here = try interfaceIndex("here")
            let shape = Ring.Shape(byteCountMax: 1 << 20)
            var first = try Ring(on: here, .keepAll, shape: shape)
            var second = try Ring(on: here, .keepAll, shape: shape)
            let sender = try PacketSender(on: interfaceIndex("there"), leavesOffload: true)
            let frame = GSOPacket().with {
                $0.payload = [UInt8](repeating: 1, count: 4000)
                $0.segmentByteCount = 1000
            }
            try sender.send(frame.offload.bytes + frame.bytes)
            let forms = [
                try Formed(from: &first, count: 4), try Formed(from: &second, count: 4),
            ]
            #expect(forms.allSatisfy { $0.frames.count == 4 && $0.gsoPacketCount == 1 })
            #expect(forms[0].frames == forms[1].frames)
        }
    }

    @Test("need not be asked for")
    func raw() throws {
        try inOwnNetwork {
            try shell("ip link add here type veth peer there; ip link set here up")
            try shell("ip link set there up")
            try awaitLinks()
            let here = try interfaceIndex("here")
            var raw = try Ring(
                on: here, .keepAll, shape: Ring.Shape(byteCountMax: 1 << 20), tellsOffload: false)
            var told = try Ring(on: here, .keepAll, shape: Ring.Shape(byteCountMax: 1 << 20))
            let sender = try PacketSender(on: interfaceIndex("there"), leavesOffload: true)
            let frame = GSOPacket().with {
                $0.payload = [UInt8](repeating: 1, count: 4000)
                $0.segmentByteCount = 1000
            }
            try sender.send(frame.offload.bytes + frame.bytes)
            let rawSeen = try Formed(from: &raw, count: 1)
            let toldSeen = try Formed(from: &told, count: 4)
            #expect(rawSeen.frames == [frame.bytes] && rawSeen.offloads == [.none])
            #expect(rawSeen.isPartial == [true])
            #expect(toldSeen.frames.count == 4 && toldSeen.isPartial == [true])
            // The length of the linear part is up to the kernel.
            #expect(toldSeen.offloads.map(\.segmentByteCount) == [1000])
            #expect(toldSeen.offloads.map(\.checksumStart) == [34])
        }
    }
}

/// The wire forms of the frames in a ring.
private struct Formed {
    private(set) var frames: [[UInt8]] = []
    private(set) var gsoPacketCount = 0
    private(set) var repairedCount = 0
    private(set) var longestByteCount = 0
    private(set) var obstacles: [WireForm.Obstacle] = []
    private(set) var offloads: [Offload] = []
    private(set) var tags: [VLANTag?] = []
    private(set) var isPartial: [Bool] = []

    private init() {}

    /// Takes the frames of one direction; waits for `count` of them, a minute at most.
    init(from ring: inout Ring, count: Int, isOutgoing: Bool = false) throws {
        let deadline = MonotonicTime.now + .seconds(60)
        while frames.count < count, MonotonicTime.now < deadline {
            _ = try poll([(ring.fileDescriptor, .readable)], milliseconds: 100)
            while let block = ring.next() {
                var packets = block.packets
                while let packet = packets.next() {
                    if packet.details.isOutgoing == isOutgoing { add(packet.packet) }
                }
            }
        }
    }

    /// Returns the frames of both directions; waits until no more come.
    static func both(from ring: inout Ring) throws -> (fromPod: Formed, toPod: Formed) {
        var (fromPod, toPod) = (Formed(), Formed())
        while try poll([(ring.fileDescriptor, .readable)], milliseconds: 500).contains(where: {
            !$0.isEmpty
        }) {
            while let block = ring.next() {
                var packets = block.packets
                while let packet = packets.next() {
                    if packet.details.isOutgoing {
                        toPod.add(packet.packet)
                    } else {
                        fromPod.add(packet.packet)
                    }
                }
            }
        }
        return (fromPod, toPod)
    }

    /// Returns the frames of these ports, in an order that does not depend on time.
    ///
    /// If the kernel completes a TCP checksum that is 0, it writes 0xffff, as for UDP
    /// (`skb_checksum_help`), which is changed to 0 here.
    func sorted(_ ports: Set<UInt16>) -> Formed {
        var copy = Formed()
        for var frame in frames {
            guard let packet = Headers(frame.wire).packet, let found = packet.ports,
                !ports.isDisjoint(with: [found.source, found.destination]),
                let transport = packet.transportOffset
            else { continue }
            if packet.transport == IPProtocol.tcp, frame.wire.uint16(at: transport + 16) == 0xffff {
                (frame[transport + 16], frame[transport + 17]) = (0, 0)
            }
            copy.frames.append(frame)
        }
        copy.frames.sort { $0.lexicographicallyPrecedes($1) }
        copy.obstacles = obstacles
        copy.repairedCount = repairedCount
        return copy
    }

    private mutating func add(_ packet: borrowing Packet) {
        let form = WireForm(
            packet.bytes, wireByteCount: packet.details.wireByteCount, packet.details.offload,
            vlan: packet.details.vlan)
        longestByteCount = max(longestByteCount, packet.bytes.byteCount)
        offloads.append(packet.details.offload)
        tags.append(packet.details.vlan)
        isPartial.append(packet.details.hasPartialChecksum)
        if case .impossible(let obstacle) = form.repair { obstacles.append(obstacle) }
        if case .segments = form.repair { gsoPacketCount += 1 }
        if form.repair != .none { repairedCount += 1 }
        for index in 0..<form.segmentCount {
            var segment = [UInt8](repeating: 0, count: form.byteCount(ofSegment: index))
            var span = segment.mutableSpan
            var target = unsafe span.mutableBytes
            form.write(segment: index, of: packet.bytes, into: &target)
            frames.append(segment)
        }
    }
}
