package import Addressing
import Packets

/// A packet as a person describes it, by its protocol, addresses and ports.
package struct DescribedPacket: Equatable, Sendable, CustomStringConvertible {
    package let transport: UInt8
    package let source: End
    package let destination: End

    package struct End: Equatable, Sendable, CustomStringConvertible {
        package let address: IPAddress
        package let port: UInt16?

        package var description: String {
            port == nil ? "\(address)" : HostPort(host: "\(address)", port: port).description
        }
    }

    /// What is wrong with a description.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// The protocols by name; any other is given by its number.
    private static let numbers: [String: UInt8] = [
        "tcp": IPProtocol.tcp, "udp": IPProtocol.udp, "sctp": IPProtocol.sctp,
        "icmp": IPProtocol.icmp, "icmp6": IPProtocol.icmpv6, "icmpv6": IPProtocol.icmpv6,
    ]

    init(transport: UInt8, source: End, destination: End) {
        (self.transport, self.source, self.destination) = (transport, source, destination)
    }

    /// Reads three words: a protocol, `ADDRESS:PORT` or `[IPV6]:PORT`, and the same again; only an
    /// address where the protocol has no ports.
    package init(words: [String]) throws(Failure) {
        guard words.count == 3 else {
            throw Failure(
                description: """
                    a packet is described by three words, such as \
                    tcp 10.244.1.2:40000 10.244.2.3:80
                    """)
        }
        guard var transport = Self.numbers[words[0].lowercased()] ?? UInt8(words[0]) else {
            throw Failure(
                description: "\(words[0]): the protocol is tcp, udp, sctp, icmp or a number")
        }
        source = try Self.end(words[1])
        destination = try Self.end(words[2])
        guard source.address.family == destination.address.family else {
            throw Failure(description: "one address is IPv4 and the other is IPv6")
        }
        if transport == IPProtocol.icmp, source.address.family == .ipv6 {
            transport = IPProtocol.icmpv6
        }
        if transport == IPProtocol.icmpv6, source.address.family == .ipv4 {
            throw Failure(description: "\(words[0]) goes with IPv6 addresses")
        }
        self.transport = transport
        let hasPorts = IPProtocol.withPorts.contains(transport)
        for end in [source, destination] where (end.port != nil) != hasPorts {
            throw Failure(
                description: hasPorts
                    ? "\(end): give it a port, as \(words[0]) has one; with IPv6, [ADDRESS]:PORT"
                    : "\(end): \(words[0]) has no ports")
        }
    }

    private static func end(_ text: String) throws(Failure) -> End {
        do throws(HostPort.Failure) {
            let end = try HostPort(text, ports: 0...UInt16.max)
            if let address = IPAddress(end.host) { return End(address: address, port: end.port) }
        } catch {
            if case .noPort = error { throw Failure(description: "\(text): \(error)") }
        }
        throw Failure(
            description: "\(text) cannot be understood: it takes ADDRESS:PORT or [IPV6]:PORT")
    }

    package var description: String {
        let name = Self.numbers.first { $0.value == transport }?.key
        let text = transport == IPProtocol.icmpv6 ? "icmp" : name ?? "protocol \(transport)"
        return "\(text) \(ends)"
    }

    package var ends: String { "\(source) to \(destination)" }

    package var isToGroup: Bool { destination.address.isGroup }

    /// The same kind of packet with the ends of a direction.
    func with(_ key: FlowKey) -> Self {
        let hasPorts = source.port != nil
        return Self(
            transport: transport,
            source: End(address: key.source, port: hasPorts ? key.sourcePort : nil),
            destination: End(address: key.destination, port: hasPorts ? key.destinationPort : nil))
    }

    /// As connection tracking knows it. An echo's identifier is not described.
    var key: FlowKey {
        FlowKey(
            transport: transport, source: source.address, destination: destination.address,
            sourcePort: source.port ?? 0, destinationPort: destination.port ?? 0)
    }

    /// A frame that carries it, with nothing in it but what the rule looks at.
    func frame(from: MACAddress, to: MACAddress) -> [UInt8] {
        let to = isToGroup ? .broadcast : to
        var transport: [UInt8] = []
        transport.append(bigEndian: source.port ?? 0)
        transport.append(bigEndian: destination.port ?? 0)
        transport += [UInt8](repeating: 0, count: 16)
        if source.port == nil { transport[0] = self.transport == IPProtocol.icmpv6 ? 128 : 8 }
        var frame: [UInt8] = []
        frame += to.bytes + from.bytes
        let addresses = source.address.bytes + destination.address.bytes
        if source.address.family == .ipv4 {
            frame.append(bigEndian: EtherType.ipv4)
            frame += [
                0x45, 0, 0, UInt8(20 + transport.count), 0, 0, 0, 0, 64, self.transport, 0, 0,
            ]
        } else {
            frame.append(bigEndian: EtherType.ipv6)
            frame += [0x60, 0, 0, 0, 0, UInt8(transport.count), self.transport, 64]
        }
        return frame + addresses + transport
    }
}

extension IPAddress {
    /// A group's address, for which there is a group MAC (RFC 1112, RFC 4291); or all of a network.
    var isGroup: Bool {
        family == .ipv4 ? bytes[0] >> 4 == 0xe || low == 0xffff_ffff : bytes[0] == 0xff
    }
}
