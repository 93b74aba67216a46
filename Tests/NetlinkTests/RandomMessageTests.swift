import Addressing
import FuzzSupport
import Netlink
import Testing

/// Messages about bridges, links, addresses and routes at random: whole, and then damaged.
///
/// Types of messages and attributes are numbers of `<linux/rtnetlink.h>` and its neighbours.
@Suite("Netlink messages, at random")
struct RandomMessageTests {
    private typealias Attribute = WrittenMessage.Attribute

    /// Calls a closure with a message; nil if it is not complete.
    private static func read<Value>(
        _ bytes: [UInt8], _ body: (borrowing NetlinkMessage) -> Value
    ) -> Value? {
        guard let message = NetlinkMessage(bytes.wire, at: 0) else { return nil }
        return body(message)
    }

    /// Reads a damaged message as everything that it might be.
    private static func readDamaged(
        _ bytes: [UInt8], with generator: inout some RandomNumberGenerator
    ) throws {
        for _ in 0..<20 {
            let bytes = damaged(bytes, with: &generator)
            let routes = read(bytes) { message in
                _ = (ForwardingEvent(message), Link(message), InterfaceAddress(message))
                _ = (TrackedFlow(message), LinkCounters(message))
                return Route.routes(in: message)
            }
            guard let routes else { continue }
            // Each next hop has eight bytes of its own.
            guard routes.count <= 1 + bytes.count / 8 else {
                throw Fuzz.Complaint("\(routes.count) routes in \(bytes)")
            }
        }
    }

    private static func randomMAC(with generator: inout some RandomNumberGenerator) -> MACAddress {
        let bytes = (0..<6).map { _ in UInt8.random(in: 0...255, using: &generator) }
        return MACAddress(bytes.wire, at: 0)
    }

    private static func randomAddress(
        _ family: IPAddress.Family, with generator: inout some RandomNumberGenerator
    ) -> IPAddress {
        switch family {
        case .ipv4: IPAddress(ipv4: .random(in: .min ... .max, using: &generator))
        case .ipv6:
            IPAddress(
                ipv6High: .random(in: .min ... .max, using: &generator),
                low: .random(in: .min ... .max, using: &generator))
        }
    }

    private static func number(_ family: IPAddress.Family) -> UInt8 { family == .ipv4 ? 2 : 10 }

    /// Attributes that nobody reads.
    private static func others(with generator: inout some RandomNumberGenerator) -> [Attribute] {
        (0..<Int.random(in: 0...3, using: &generator)).map { number in
            let count = Int.random(in: 0...9, using: &generator)
            return Attribute(UInt16(500 + number), [UInt8](repeating: 0xff, count: count))
        }
    }

    @Test("say what a bridge has learned and forgotten", arguments: Fuzz.seeds)
    func bridges(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            for _ in 0..<20 {
                let isLocal = Bool.random(using: &generator)
                let entry = ForwardingEntry(
                    mac: Self.randomMAC(with: &generator),
                    bridge: .random(in: 1...UInt32(Int32.max), using: &generator),
                    port: .random(in: 1...UInt32(Int32.max), using: &generator), isLocal: isLocal)
                let isLearned = Bool.random(using: &generator)
                // A neighbour of IP, or the entry of a VXLAN device, is no bridge's.
                let kind = Int.random(in: 0..<6, using: &generator)
                var attributes = Self.others(with: &generator)
                attributes.append(Attribute(2, entry.mac.bytes + (kind == 1 ? [0, 0] : [])))
                if kind != 2 { attributes.append(Attribute(9, entry.bridge)) }
                attributes.shuffle(using: &generator)
                let fixed =
                    [kind == 0 ? 2 : 7, 0, 0, 0] + WrittenMessage.native(entry.port)
                    + WrittenMessage.native(UInt16(isLocal ? 0x82 : 2)) + [0, 0]
                let bytes = WrittenMessage(type: isLearned ? 28 : 29, fixed, attributes).bytes
                let expected = isLearned ? ForwardingEvent.learned(entry) : .forgotten(entry)
                let event = Self.read(bytes) { ForwardingEvent($0) } ?? nil
                guard event == (kind < 3 ? nil : expected) else {
                    throw Fuzz.Complaint("\(event as Any), not \(expected), kind \(kind)")
                }
                try Self.readDamaged(bytes, with: &generator)
            }
        }
    }

    @Test("say what a link is, and how large its packets may become", arguments: Fuzz.seeds)
    func links(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            for _ in 0..<20 {
                var link = Link(index: .random(in: 1...UInt32(Int32.max), using: &generator))
                var attributes = Self.others(with: &generator)
                link.name = "veth\(UInt32.random(in: 0...99_999, using: &generator))"
                attributes.append(Attribute(3, Array(link.name.utf8) + [0]))
                link.isUp = Bool.random(using: &generator)
                link.isLoopback = Bool.random(using: &generator)
                if Bool.random(using: &generator) {
                    let mac = Self.randomMAC(with: &generator)
                    link.mac = mac
                    attributes.append(Attribute(1, mac.bytes))
                }
                if Bool.random(using: &generator) {
                    link.kind = "veth"
                    attributes.append(
                        Attribute(18, [Attribute(2, [1, 2, 3]), Attribute(1, Array("veth".utf8))]))
                }
                if Bool.random(using: &generator) {
                    let number = UInt32.random(in: 1...99, using: &generator)
                    (link.master, link.peerIndex) = (number, number + 1)
                    link.peerNamespace = Int32(number) - 50
                    attributes += [Attribute(10, number), Attribute(5, number + 1)]
                    attributes.append(Attribute(37, UInt32(bitPattern: Int32(number) - 50)))
                }
                for type in [41, 58, 63, 64] as [UInt16] where Bool.random(using: &generator) {
                    let sizes: [UInt32] = [0, 1500, 65_536, 185_000, 524_280, .max]
                    let size = sizes.randomElement(using: &generator) ?? 0
                    attributes.append(Attribute(type, size))
                    let isGSO = type == 41 || type == 63
                    if isGSO { link.gsoByteCountMax = max(link.gsoByteCountMax, Int(size)) }
                    if !isGSO { link.groByteCountMax = max(link.groByteCountMax, Int(size)) }
                }
                attributes.shuffle(using: &generator)
                let flags: UInt32 = (link.isUp ? 1 : 0) | (link.isLoopback ? 8 : 0) | 0x1_0000
                let fixed =
                    [0, 0, 1, 0] + WrittenMessage.native(link.index)
                    + WrittenMessage.native(flags) + [0, 0, 0, 0]
                let bytes = WrittenMessage(type: 16, fixed, attributes).bytes
                let found = Self.read(bytes) { Link($0) } ?? nil
                guard found == link else {
                    throw Fuzz.Complaint("\(found as Any), not \(link)")
                }
                try Self.readDamaged(bytes, with: &generator)
            }
        }
    }

    @Test("say which addresses and routes there are", arguments: Fuzz.seeds)
    func addresses(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var generator = RandomNumbers(seed)
            for _ in 0..<20 {
                let family: IPAddress.Family = Bool.random(using: &generator) ? .ipv4 : .ipv6
                let address = Self.randomAddress(family, with: &generator)
                let bits = UInt8.random(in: 0...UInt8(family.bitCount), using: &generator)
                let index = UInt32.random(in: 1...9999, using: &generator)
                let far = Self.randomAddress(family, with: &generator)
                let message = WrittenMessage(
                    type: 20, [Self.number(family), bits, 0, 0] + WrittenMessage.native(index),
                    [Attribute(1, far.bytes), Attribute(2, address.bytes)].shuffled(
                        using: &generator) + Self.others(with: &generator))
                let expected = InterfaceAddress(
                    interfaceIndex: index, address: address, prefixBitCount: Int(bits))
                let found = Self.read(message.bytes) { InterfaceAddress($0) } ?? nil
                guard found == expected else {
                    throw Fuzz.Complaint("\(found as Any), not \(expected)")
                }
                try Self.readDamaged(message.bytes, with: &generator)
                try Self.checkRoute(
                    to: IPNetwork(address, prefixBitCount: Int(bits)), with: &generator)
            }
        }
    }

    /// Reads a route with one or several next hops, of either family.
    private static func checkRoute(
        to network: IPNetwork, with generator: inout some RandomNumberGenerator
    ) throws {
        let family = network.family
        let metric = UInt32.random(in: 0...9, using: &generator)
        var expected: [Route] = []
        var hops: [[Attribute]] = []
        for index in 1...UInt32.random(in: 1...4, using: &generator) {
            let kind = Int.random(in: 0...2, using: &generator)
            let other: IPAddress.Family = kind == 1 ? family : family == .ipv4 ? .ipv6 : .ipv4
            let gateway = kind == 0 ? nil : randomAddress(other, with: &generator)
            expected.append(
                Route(
                    destination: network, gateway: gateway, interfaceIndex: index, metric: metric))
            hops.append(
                gateway.map {
                    let via = WrittenMessage.native(UInt16(number(other))) + $0.bytes
                    return [kind == 1 ? Attribute(5, $0.bytes) : Attribute(18, via)]
                } ?? [])
        }
        var attributes = [Attribute(1, network.address.bytes), Attribute(6, metric)]
        if expected.count == 1 {
            attributes += hops[0] + [Attribute(4, 1)]
        } else {
            let list = hops.enumerated().flatMap { index, hop -> [UInt8] in
                let rest = hop.flatMap(\.bytes)
                return WrittenMessage.native(UInt16(8 + rest.count)) + [0, 0]
                    + WrittenMessage.native(UInt32(index + 1)) + rest
            }
            attributes.append(Attribute(9, list))
        }
        let isMain = Bool.random(using: &generator)
        if !isMain { attributes.append(Attribute(15, 77)) }
        let fixed = [number(family), UInt8(network.prefixBitCount), 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]
        let bytes = WrittenMessage(
            type: 24, fixed, attributes.shuffled(using: &generator)
        ).bytes
        let routes = read(bytes) { Route.routes(in: $0) } ?? []
        guard routes == (isMain ? expected : []) else {
            throw Fuzz.Complaint("\(routes), not \(expected)")
        }
        try readDamaged(bytes, with: &generator)
    }
}
