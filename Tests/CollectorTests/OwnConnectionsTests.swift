import Addressing
import BPF
import Collector
import Linux
import Testing

@Suite("The filter of a collector's own connections")
struct OwnConnectionsTests {
    private static let host = IPAddress(ipv4: 0x0a00_0001)
    private static let here: [SocketAddress] = [
        "192.0.2.9:2003", "192.0.2.9:40001", "[2001:db8::9]:40002",
    ].compactMap { SocketAddress($0) }

    private static func filter(
        _ linkType: UInt16 = 1, datagrams: Bool = false, _ program: Program = .keepAll
    ) throws -> Program {
        let connections = OwnConnections(receivesDatagrams: datagrams)
        connections.set(here, of: 7, at: Self.host)
        return try #require(connections.filter(of: 7, linkType, otherwise: program).program)
    }

    /// An IPv4 packet with ports; `options` are words behind its header.
    private static func ipv4(
        _ source: String, _ destination: String, protocol number: UInt8 = 6, options: Int = 0,
        fragment: UInt16 = 0
    ) -> [UInt8] {
        let ends = [source, destination].compactMap { SocketAddress($0) }
        var bytes: [UInt8] = [0x45 + UInt8(options), 0, 0, 40, 0, 1]
        bytes.append(bigEndian: fragment)
        bytes += [64, number, 0, 0]
        for end in ends { for word in end.address.words { bytes.append(bigEndian: word) } }
        bytes += [UInt8](repeating: 1, count: 4 * options)
        for end in ends { bytes.append(bigEndian: end.port) }
        return bytes + [UInt8](repeating: 0, count: 16)
    }

    private static func ipv6(
        _ source: String, _ destination: String, next: UInt8 = 17, inner: UInt8 = 17
    ) -> [UInt8] {
        let ends = [source, destination].compactMap { SocketAddress($0) }
        var bytes: [UInt8] = [0x60, 0, 0, 0, 0, 20, next, 64]
        for end in ends { for word in end.address.words { bytes.append(bigEndian: word) } }
        if next == 44 { bytes += [inner, 0, 0, 8, 0, 0, 0, 1] }
        for end in ends { bytes.append(bigEndian: end.port) }
        return bytes + [UInt8](repeating: 0, count: 16)
    }

    private static func ethernet(_ packet: [UInt8], tags: [UInt16] = []) -> [UInt8] {
        var bytes = [UInt8](repeating: 2, count: 12)
        for tag in tags {
            bytes.append(bigEndian: tag)
            bytes += [0, 5]
        }
        bytes.append(bigEndian: packet[0] >> 4 == 4 ? UInt16(0x0800) : 0x86dd)
        return bytes + packet
    }

    private static let (peer, own, data) = ("10.0.0.1:2002", "192.0.2.9:2003", "192.0.2.9:40001")
    private static let (peer6, own6) = ("[2001:db8::1]:999", "[2001:db8::9]:40002")

    static let rows: [(name: String, packet: [UInt8], isOwn: Bool)] = [
        ("a feed", ipv4(peer, data), true), ("its acknowledgement", ipv4(data, peer), true),
        ("control", ipv4(peer, own), true), ("datagrams", ipv4(peer, data, protocol: 17), true),
        ("options", ipv4(peer, data, options: 10), true),
        ("to itself", ipv4("192.0.2.9:999", data), true),
        ("another port", ipv4(peer, "192.0.2.9:40002"), false),
        ("the port at the other end", ipv4("10.0.0.1:40001", "192.0.2.9:22"), false),
        ("another host", ipv4(peer, "192.0.2.8:40001"), false),
        ("SCTP", ipv4(peer, data, protocol: 132), false),
        ("a first fragment", ipv4(peer, data, protocol: 17, fragment: 0x2000), true),
        ("a later fragment", ipv4(peer, data, protocol: 17, fragment: 0x00b9), false),
        ("a feed over IPv6", ipv6(peer6, own6), true), ("its answer", ipv6(own6, peer6), true),
        ("TCP over IPv6", ipv6(peer6, own6, next: 6), true),
        ("another port over IPv6", ipv6(peer6, "[2001:db8::9]:40001"), false),
        ("another host over IPv6", ipv6(peer6, "[2001:db8::8]:40002"), false),
        ("a fragment over IPv6", ipv6(peer6, own6, next: 44), false),
    ]

    @Test("drops their packets, and no others, in every form", arguments: rows)
    func drops(_ row: (name: String, packet: [UInt8], isOwn: Bool)) throws {
        let etherType: [UInt8] = row.packet[0] >> 4 == 4 ? [8, 0] : [0x86, 0xdd]
        let forms: [(linkType: UInt16, frame: [UInt8])] = [
            (1, Self.ethernet(row.packet)), (1, Self.ethernet(row.packet, tags: [0x8100])),
            (1, Self.ethernet(row.packet, tags: [0x88a8, 0x8100])),
            (113, [UInt8](repeating: 0, count: 14) + etherType + row.packet),
            (276, etherType + [UInt8](repeating: 0, count: 18) + row.packet),
            (101, row.packet), (row.packet[0] >> 4 == 4 ? 228 : 229, row.packet),
        ]
        for form in forms {
            let kept = try Self.filter(form.linkType).run(on: form.frame.wire)
            #expect((kept == 0) == row.isOwn, "link type \(form.linkType)")
        }
    }

    @Test("drops later fragments of datagrams to them if they receive datagrams")
    func fragments() throws {
        let filter = try Self.filter(datagrams: true)
        let packets: [(packet: [UInt8], isOwn: Bool)] = [
            (Self.ipv4(Self.peer, "192.0.2.9:1", protocol: 17, fragment: 0xb9), true),
            (Self.ipv4(Self.peer, "192.0.2.9:1", protocol: 6, fragment: 0xb9), false),
            (Self.ipv4(Self.own, Self.peer, protocol: 17, fragment: 0xb9), false),
            (Self.ipv6(Self.peer6, Self.own6, next: 44), true),
            (Self.ipv6(Self.peer6, Self.own6, next: 44, inner: 58), false),
        ]
        for (packet, isOwn) in packets {
            #expect((filter.run(on: Self.ethernet(packet).wire) == 0) == isOwn)
        }
    }

    @Test("keeps what the other filter keeps of all other packets, however short they are")
    func others() throws {
        let wanted = try Program(checking: [
            Instruction(.loadLength), Instruction(.add.withX), Instruction(.keepA),
        ])
        let filter = try Self.filter(1, wanted)
        let other = Self.ethernet(Self.ipv4(Self.peer, "192.0.2.8:1"))
        for count in 14...other.count {
            #expect(filter.run(on: Array(other[..<count]).wire) == UInt32(count))
        }
        #expect(filter.run(on: [UInt8](repeating: 0xff, count: 60).wire) == 60)
    }

    @Test("drops those of the link alone if all of them are too many, and none if that is too long")
    func length() throws {
        let connections = OwnConnections(receivesDatagrams: false)
        connections.set(Self.here, of: 1, at: Self.host)
        for link in 2..<200 {
            let end = SocketAddress(IPAddress(ipv4: 0x0a00_0001), port: UInt16(link))
            connections.set([end], of: link, at: Self.host)
        }
        func filter(_ count: Int) throws -> Program? {
            let wanted = [Instruction](repeating: Instruction(.loadLength), count: count)
            let program = try Program(checking: wanted + [Instruction(.keepA)])
            switch connections.filter(of: 1, 1, otherwise: program) {
            case .filter(let filter): return filter
            case .unknownForm, .tooLong: return nil
            }
        }
        let most = Program.instructionCountMax
        #expect(try #require(try filter(1)).instructions.count > 300)
        let short = try #require(try filter(most - 300))
        #expect(short.run(on: Self.ethernet(Self.ipv4(Self.peer, Self.own)).wire) == 0)
        #expect(try filter(most - 10) == nil)
    }

    @Test("is refused for link types that it cannot read")
    func linkTypes() {
        let connections = OwnConnections(receivesDatagrams: false)
        connections.set(Self.here, of: 1, at: Self.host)
        #expect(connections.filter(of: 1, 105, otherwise: .keepAll).program == nil)
    }

    @Test("is one that the kernel takes, with as many connections as there may be")
    func bounds() throws {
        let connections = OwnConnections(receivesDatagrams: true)
        for link in 0..<600 {
            let address = IPAddress(ipv6High: 1, low: UInt64(link % 20))
            let ports = [UInt16(link + 1), UInt16(link + 10_000)]
            connections.set(ports.map { SocketAddress(address, port: $0) }, of: link, at: Self.host)
        }
        let own = SocketAddress(IPAddress(ipv6High: 1, low: 3), port: 5000)
        connections.set([own], of: 1, at: Self.host)
        let version = connections.version
        let filter = try #require(connections.filter(of: 1, 1, otherwise: .keepAll).program)
        #expect(filter.instructions.count < Program.kernelInstructionCountMax)
        #expect(try Program(checking: filter.instructions).instructions == filter.instructions)
        let packet = Self.ipv6(Self.peer6, "\(own)")
        #expect(filter.run(on: Self.ethernet(packet).wire) == 0)
        connections.set([own], of: 1, at: Self.host)
        #expect(connections.version == version)
        #expect(connections.version(of: Self.host) == version)
        connections.remove(1)
        #expect(connections.version == version && connections.version(of: Self.host) == version)
        for link in 0..<600 { connections.remove(link) }
        #expect(connections.version(of: Self.host) == 0)
    }

    @Test("has the outputs' connections for all agents, and those of this host for its own agents")
    func outputs() throws {
        let connections = OwnConnections(receivesDatagrams: false)
        let near = IPAddress(ipv4: 0x7f00_0001)
        connections.set([Self.here[0]], of: 1, at: Self.host)
        connections.set([Self.here[0]], of: 2, at: near)
        #expect(connections.outputVersion(of: near) == 0)
        let (far, local) = ("192.0.2.9:57012", "127.0.0.1:57012")
        func isDropped(_ end: String, for link: Int) throws -> Bool {
            let filter = try #require(connections.filter(of: link, 1, otherwise: .keepAll).program)
            return filter.run(on: Self.ethernet(Self.ipv4(end, "10.9.9.9:5000")).wire) == 0
        }
        connections.setOutputs(Set([local].compactMap { SocketAddress($0) }))
        #expect(connections.outputVersion(of: Self.host) == 0)
        #expect(connections.outputVersion(of: near) == connections.version)
        #expect(try isDropped(local, for: 2) && !isDropped(local, for: 1))
        connections.setOutputs(Set([local, far].compactMap { SocketAddress($0) }))
        for host in [Self.host, near] {
            #expect(connections.version(of: host) == connections.version)
        }
        #expect(try isDropped(far, for: 1) && isDropped(far, for: 2))
        let version = connections.version
        connections.setOutputs(Set([far, local].compactMap { SocketAddress($0) }))
        #expect(connections.version == version)
    }
}

extension OwnConnections.Exclusion {
    fileprivate var program: Program? {
        if case .filter(let program) = self { program } else { nil }
    }
}
