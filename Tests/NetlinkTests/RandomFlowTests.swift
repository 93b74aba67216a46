import Addressing
import BPF
import FuzzSupport
import Netlink
import Testing

/// The events of connection tracking, and the program that keeps the wanted ones.
@Suite("Flows of connection tracking, at random")
struct RandomFlowTests {
    private typealias Attribute = WrittenMessage.Attribute

    private static func addresses(_ texts: [String]) -> [IPAddress] {
        texts.compactMap { IPAddress($0) }
    }

    private static let ipv4 = addresses([
        "10.244.1.2", "10.244.1.3", "10.244.2.2", "10.96.0.10", "192.168.9.1", "127.0.0.1",
        "10.244.1.1",
    ])
    private static let ipv6 = addresses([
        "fd00:10:244::2", "fd00:10:244::3", "fd00:10:244:1::3", "fd00:10:96::a", "fd00:9::1", "::1",
        "fd00:10:244::1",
    ])

    private static func networks(_ texts: [String]) -> [IPNetwork] {
        texts.compactMap { IPNetwork($0) }
    }

    private static let networkLists: [[IPNetwork]] = [
        [], networks(["10.96.0.0/16", "fd00:10:96::/112"]), networks(["10.244.0.0/16"]),
        networks(["fd00:10:244::/56", "10.244.1.2/32"]), networks(["0.0.0.0/0", "::/0"]),
        networks(["10.244.1.2", "10.244.1.3", "10.96.0.10", "fd00:10:244::2", "fd00:9::/64"]),
    ]

    /// The kinds of messages.
    private enum Layout: CaseIterable {
        /// As the kernel writes them.
        case usual
        /// With the zone behind each tuple's protocol.
        case zone
        /// With the reply's tuple behind other attributes.
        case shuffled
    }

    private static func tuple(
        _ type: UInt16, _ flow: FlowKey, _ layout: Layout
    ) -> Attribute {
        let isIPv4 = flow.source.family == .ipv4
        let ends = [
            Attribute(isIPv4 ? 1 : 3, flow.source.bytes),
            Attribute(isIPv4 ? 2 : 4, flow.destination.bytes),
        ]
        let near = [UInt8(flow.sourcePort >> 8), UInt8(flow.sourcePort & 0xff)]
        let far = [UInt8(flow.destinationPort >> 8), UInt8(flow.destinationPort & 0xff)]
        var numbers = [Attribute(1, [flow.transport])]
        switch flow.transport {
        case 1: numbers += [Attribute(4, near), Attribute(5, [8]), Attribute(6, [0])]
        case 58: numbers += [Attribute(7, near), Attribute(8, [128]), Attribute(9, [0])]
        case 50: break
        default: numbers += [Attribute(2, near), Attribute(3, far)]
        }
        var parts = [Attribute(1, ends), Attribute(2, numbers)]
        if layout == .zone { parts.append(Attribute(3, [0, 7])) }
        return Attribute(type, parts)
    }

    private static func message(
        _ flow: TrackedFlow, _ layout: Layout, with generator: inout some RandomNumberGenerator
    ) -> [UInt8] {
        var rest = [
            tuple(2, flow.reply, layout), Attribute(12, 7), Attribute(3, 0x188),
        ]
        if layout == .shuffled { rest.shuffle(using: &generator) }
        let family: UInt8 = flow.original.source.family == .ipv4 ? 2 : 10
        return WrittenMessage(
            type: 0x100, [family, 0, 0, 0],
            [tuple(1, flow.original, layout)] + rest
        ).bytes
    }

    private static func randomFlow(with generator: inout some RandomNumberGenerator) -> TrackedFlow
    {
        let isIPv4 = Bool.random(using: &generator)
        let pool = isIPv4 ? ipv4 : ipv6
        func end() -> IPAddress { pool.randomElement(using: &generator) ?? pool[0] }
        let transports: [UInt8] = [6, 17, 132, 50, isIPv4 ? 1 : 58]
        let transport = transports.randomElement(using: &generator) ?? 6
        let hasPorts = [6, 17, 132].contains(transport)
        let near: UInt16 = transport == 50 ? 0 : .random(in: 1...9, using: &generator)
        let far: UInt16 = hasPorts ? 80 : near
        let original = FlowKey(
            transport: transport, source: end(), destination: end(), sourcePort: near,
            destinationPort: far)
        var reply = original.reversed
        if Bool.random(using: &generator) {
            reply = FlowKey(
                transport: transport, source: end(),
                destination: Bool.random(using: &generator) ? original.source : end(),
                sourcePort: far, destinationPort: near)
        }
        return TrackedFlow(original: original, reply: reply)
    }

    @Test("are read as they are, and kept by the program if they are wanted", arguments: Fuzz.seeds)
    func flows(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            let wanted = WantedFlows(
                towards: Self.networkLists.randomElement(using: &generator) ?? [],
                throughFrontsFrom: Self.networkLists.randomElement(using: &generator) ?? [])
            let program = ConntrackEvents.program(wanted)
            for _ in 0..<100 {
                let flow = Self.randomFlow(with: &generator)
                let layout = Layout.allCases.randomElement(using: &generator) ?? .usual
                let bytes = Self.message(flow, layout, with: &generator)
                let found = Self.flow(in: bytes)
                guard found == flow else {
                    throw Fuzz.Complaint("\(found as Any), not \(flow), \(layout)")
                }
                let isKept = program.run(on: bytes.wire) > 0
                // User space passes over what the program cannot tell.
                let isSure =
                    layout == .usual && !flow.original.destination.isLoopback
                guard isKept == wanted.contains(flow) || isKept && !isSure else {
                    throw Fuzz.Complaint("kept: \(isKept), \(layout), \(flow), \(wanted)")
                }
                let damaged = damaged(bytes, with: &generator)
                _ = (Self.flow(in: damaged), program.run(on: damaged.wire))
            }
        }
    }

    private static func flow(in bytes: [UInt8]) -> TrackedFlow? {
        guard let message = NetlinkMessage(bytes.wire, at: 0) else { return nil }
        return TrackedFlow(message)
    }
}
