import Addressing
import KernelSupport
import Netlink
import Testing

/// What podwire reads of connection tracking, against what conntrack(8) prints of the same flows.
///
/// The namespace's own rules translate service addresses as kube-proxy's do.
@Suite("Connection tracking", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct ConntrackTests {
    private static let services = [IPNetwork("10.96.0.0/16"), IPNetwork("fd00:10:96::/112")]
        .compactMap { $0 }

    /// A pod's address and a backend's, and a service for each protocol in front of it.
    private static let setUp = """
        set -e
        sysctl -qw net.ipv6.conf.all.disable_ipv6=0
        ip link add pods type bridge && ip link set pods up
        for a in 10.244.1.2/24 10.244.1.3/24; do ip addr add $a dev pods; done
        for a in fd00:10:244::2/64 fd00:10:244::3/64; do ip addr add $a dev pods nodad; done
        for p in tcp udp sctp; do
            iptables -t nat -A OUTPUT -d 10.96.0.10 -p $p --dport 80 \\
                -j DNAT --to-destination 10.244.1.3:8080
            ip6tables -t nat -A OUTPUT -d fd00:10:96::a -p $p --dport 80 \\
                -j DNAT --to-destination '[fd00:10:244::3]:8080'
        done
        for p in icmp esp; do
            iptables -t nat -A OUTPUT -d 10.96.0.10 -p $p -j DNAT --to-destination 10.244.1.3
        done
        ip route add 10.96.0.0/16 dev pods src 10.244.1.2
        ip route add fd00:10:96::/112 dev pods src fd00:10:244::2
        """

    /// Sends one packet of each protocol, to the services and past them.
    ///
    /// Nobody listens for TCP and UDP, so their entries are gone at once, or stay, as the kernel
    /// likes.
    private static let talk = """
        python3 -c '
        import socket, struct
        def send(family, kind, proto, target, data=b"x"):
            with socket.socket(family, kind, proto) as s:
                s.settimeout(0.2)
                try:
                    s.connect(target)
                    s.send(data)
                    s.recv(100)
                except OSError: pass
        init = struct.pack("!HHIIBBHIIHHI", 40001, 80, 0, 0, 1, 0, 20, 1, 1500, 1, 1, 1)
        for family, targets in (
            (socket.AF_INET, ("10.96.0.10", "10.244.1.3")),
            (socket.AF_INET6, ("fd00:10:96::a", "fd00:10:244::3"))):
            for target in targets:
                send(family, socket.SOCK_DGRAM, 0, (target, 80))
                send(family, socket.SOCK_STREAM, 0, (target, 80))
                send(family, socket.SOCK_RAW, 132, (target, 0), init)
        echo = struct.pack("!BBHHH", 8, 0, 0, 4711, 1)
        total = (~sum(struct.unpack("!4H", echo))) & 0xffff
        # A protocol of which connection tracking knows no ports.
        send(socket.AF_INET, socket.SOCK_RAW, 50, ("10.96.0.10", 0))
        send(socket.AF_INET, socket.SOCK_RAW, 1, ("10.96.0.10", 0), echo[:2] + struct.pack("!H", (total - 1) & 0xffff) + echo[4:])
        '
        """

    @Test("tells of each new flow towards a service, and of no other")
    func events() throws {
        try inOwnNetwork {
            try shell(Self.setUp)
            var events = try ConntrackEvents(WantedFlows(towards: Self.services))
            try shell(Self.talk)
            var flows: [TrackedFlow] = []
            let isComplete = try events.read { flows.append($0) }
            #expect(isComplete)
            let kinds = flows.map { "\($0.original.source.family) \($0.original.transport)" }
            #expect(
                kinds.sorted() == [
                    "ipv4 1", "ipv4 132", "ipv4 17", "ipv4 50", "ipv4 6", "ipv6 132", "ipv6 17",
                    "ipv6 6",
                ])
            for flow in flows {
                let isIPv4 = flow.original.source.family == .ipv4
                #expect(flow.original.source == IPAddress(isIPv4 ? "10.244.1.2" : "fd00:10:244::2"))
                #expect(flow.reply.source == IPAddress(isIPv4 ? "10.244.1.3" : "fd00:10:244::3"))
                #expect(flow.isTranslated && !flow.isMasqueraded)
                guard ![1, 50].contains(flow.original.transport) else { continue }
                #expect(flow.original.destinationPort == 80 && flow.reply.sourcePort == 8080)
            }
        }
    }

    @Test(
        "tells of calls through fronts that are not masqueraded, and of no other",
        arguments: [4, 6])
    func fronts(version: Int) throws {
        try inOwnNetwork {
            try shell(Self.setUp)
            let masquerade =
                version == 4
                ? "iptables -t nat -A POSTROUTING -d 10.244.1.3 -p udp -j SNAT --to 10.244.1.9"
                : "ip6tables -t nat -A POSTROUTING -d fd00:10:244::3 -p udp -j SNAT --to fd00:10:244::9"
            let client = version == 4 ? "10.244.1.2/32" : "fd00:10:244::2/128"
            let wanted = WantedFlows(
                towards: [], throughFrontsFrom: [try #require(IPNetwork(client))])
            let other = WantedFlows(
                towards: [], throughFrontsFrom: [try #require(IPNetwork("10.244.7.0/24"))])
            var events = try ConntrackEvents(wanted)
            var others = try ConntrackEvents(other)
            try shell(Self.talk)
            try shell(masquerade + " && conntrack -F 2>/dev/null")
            try shell(Self.talk)
            var flows: [TrackedFlow] = []
            _ = try events.read { flows.append($0) }
            var otherCount = 0
            _ = try others.read { _ in otherCount += 1 }
            #expect(otherCount == 0)
            let kinds = flows.map(\.original.transport).sorted()
            // The second time UDP is masqueraded; direct calls are not translated.
            #expect(
                kinds
                    == (version == 4 ? [1, 1, 6, 6, 17, 50, 50, 132, 132] : [6, 6, 17, 132, 132]))
            #expect(flows.allSatisfy { wanted.contains($0) })
            let present = try Self.list(wanted)
            #expect(!present.isEmpty && Set(present).isSubset(of: flows))
        }
    }

    @Test("has the flows that conntrack prints, and answers about them from either end")
    func table() throws {
        try inOwnNetwork {
            try shell(Self.setUp)
            try shell(Self.talk)
            var table = try Conntrack()
            try table.check()
            let flows = try Self.list(WantedFlows(towards: Self.services))
            let printed = try output(
                of: "conntrack -L 2>/dev/null; conntrack -L -f ipv6 2>/dev/null")
            let lines = Set(printed.split(separator: "\n")).filter {
                $0.contains("dst=10.96.") || $0.contains("dst=fd00:10:96:")
            }
            #expect(lines.count == flows.count, "\(lines) \(flows)")
            #expect(flows.count >= 3)
            for flow in flows {
                let wanted = [flow.original, flow.reply].map(Self.text)
                #expect(lines.contains { line in wanted.allSatisfy { line.contains($0) } })
                // An echo is asked about by its request.
                let questions = [flow.original, flow.reply].prefix(
                    flow.original.transport == 1 ? 1 : 2)
                for question in questions {
                    let answer = try table.flow(question)
                    #expect(answer == flow)
                }
            }
            // No more than were asked for of each family, and none that is not there.
            let few = try table.translatedFlows(countMax: 1)
            #expect(few.map(\.original.source.family).sorted() == [.ipv4, .ipv6])
            let nobody = FlowKey(
                transport: 6, source: IPAddress(ipv4: 1), destination: IPAddress(ipv4: 2),
                sourcePort: 3, destinationPort: 4)
            let answer = try table.flow(nobody)
            #expect(answer == nil)
        }
    }

    @Test("lists a table of many parts, a part at a time")
    func parts() throws {
        try inOwnNetwork {
            try shell(Self.setUp)
            try shell(Self.sendMany(from: 1000, count: 2000))
            var listing = try ConntrackListing(WantedFlows(towards: Self.services))
            var ports: [UInt16] = []
            var partCount = 1
            while try listing.readPart({ ports.append($0.original.sourcePort) }) { partCount += 1 }
            #expect(partCount > 10)
            #expect(ports.sorted() == Array(1000..<3000))
            let hasMore = try listing.readPart { _ in }
            #expect(!hasMore)
        }
    }

    private static func list(_ wanted: WantedFlows) throws -> [TrackedFlow] {
        var flows: [TrackedFlow] = []
        var listing = try ConntrackListing(wanted)
        while try listing.readPart({ flows.append($0) }) {}
        return flows
    }

    /// Sends a datagram to a service from each of many ports.
    private static func sendMany(from first: Int, count: Int) -> String {
        """
        python3 -c '
        import socket
        for port in range(\(first), \(first + count)):
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.bind(("10.244.1.2", port))
            try: s.sendto(b"x", ("10.96.0.10", 80))
            except OSError: pass
        '
        """
    }

    /// As conntrack(8) prints one direction.
    private static func text(_ key: FlowKey) -> String {
        let ends = "src=\(key.source) dst=\(key.destination) "
        return switch key.transport {
        case 1: ends + "type="
        case 50: ends
        default: ends + "sport=\(key.sourcePort) dport=\(key.destinationPort)"
        }
    }

    @Test("notices events that came faster than they were read")
    func overrun() throws {
        try inOwnNetwork {
            try shell(Self.setUp)
            var events = try ConntrackEvents(
                WantedFlows(towards: Self.services), bufferByteCount: 4096)
            try shell(Self.sendMany(from: 1000, count: 500))
            var count = 0
            var isComplete = true
            for _ in 0..<3 {
                let isAll = try events.read { _ in count += 1 }
                isComplete = isComplete && isAll
            }
            #expect(!isComplete && (1..<500).contains(count))
            // What was lost can be asked for.
            var table = try Conntrack()
            let flow = try table.flow(
                FlowKey(
                    transport: 17, source: IPAddress(ipv4: 0x0af4_0102),
                    destination: IPAddress(ipv4: 0x0a60_000a), sourcePort: 1499,
                    destinationPort: 80))
            #expect(flow?.reply.sourcePort == 8080)
        }
    }
}
