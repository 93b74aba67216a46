package import Addressing
import Packets

/// A packet as a person describes it: by its protocol, addresses and ports.
package struct DescribedPacket: Equatable, Sendable, CustomStringConvertible {
    /// The number of the protocol over IP.
    package let transport: UInt8
    /// The sender.
    package let source: End
    /// The receiver.
    package let destination: End

    /// One end of a packet.
    package struct End: Equatable, Sendable, CustomStringConvertible {
        /// The address.
        package let address: IPAddress
        /// The port; nil if the protocol has none.
        package let port: UInt16?

        /// Both parts: `"10.244.1.2:80"`.
        package var description: String {
            port == nil ? "\(address)" : HostPort(host: "\(address)", port: port).description
        }
    }

    /// A description that cannot be understood.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        /// The reason, and what to write.
        package let description: String
    }

    /// The protocols that have names; others are given by their numbers.
    private static let numbers: [String: UInt8] = [
        "tcp": IPProtocol.tcp, "udp": IPProtocol.udp, "sctp": IPProtocol.sctp,
        "icmp": IPProtocol.icmp, "icmp6": IPProtocol.icmpv6, "icmpv6": IPProtocol.icmpv6,
    ]

    init(transport: UInt8, source: End, destination: End) {
        (self.transport, self.source, self.destination) = (transport, source, destination)
    }

    /// Parses three words: the protocol, the source and the destination.
    ///
    /// An end is `ADDRESS:PORT` or `[IPV6]:PORT`, or only an address if the protocol has no ports.
    package init(words: [String]) throws(Failure) {
        guard words.count == 3 else {
            throw Failure(
                description: """
                    describe a packet by three words, such as \
                    tcp 10.244.1.2:40000 10.244.2.3:80
                    """)
        }
        guard var transport = Self.numbers[words[0].lowercased()] ?? UInt8(words[0]) else {
            throw Failure(
                description: """
                    \(words[0]): the protocol is tcp, udp, sctp, icmp, icmp6 or a number, such as 112 \
                    for VRRP
                    """)
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
            throw Failure(description: "\(words[0]) needs IPv6 addresses")
        }
        self.transport = transport
        let hasPorts = IPProtocol.withPorts.contains(transport)
        for end in [source, destination] where (end.port != nil) != hasPorts {
            throw Failure(
                description: hasPorts
                    ? "\(end): add a port, which \(words[0]) needs; with IPv6, [ADDRESS]:PORT"
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
            description: "\(text) cannot be understood: write ADDRESS:PORT or [IPV6]:PORT")
    }

    /// The protocol and both ends, in words.
    package var description: String {
        let name = Self.numbers.first { $0.value == transport }?.key
        let text = transport == IPProtocol.icmpv6 ? "icmp" : name ?? "protocol \(transport)"
        return "\(text) \(ends)"
    }

    /// Both ends, in words.
    package var ends: String { "\(source) to \(destination)" }

    /// Whether the destination is a group address.
    package var isToGroup: Bool { destination.address.isGroup }

    /// A packet of the same protocol with the ends of a flow's direction.
    func with(_ key: FlowKey) -> Self {
        let hasPorts = source.port != nil
        return Self(
            transport: transport,
            source: End(address: key.source, port: hasPorts ? key.sourcePort : nil),
            destination: End(address: key.destination, port: hasPorts ? key.destinationPort : nil))
    }

    /// The key of its flow; the identifier of an ICMP echo is not known.
    var key: FlowKey {
        FlowKey(
            transport: transport, source: source.address, destination: destination.address,
            sourcePort: source.port ?? 0, destinationPort: destination.port ?? 0)
    }

    /// The request that its protocol has; nil if it has none.
    package var requestKind: RequestKind? {
        switch transport {
        case IPProtocol.tcp: .connection
        case IPProtocol.icmp, IPProtocol.icmpv6: .ping
        default: nil
        }
    }

    /// The same packet after a translation.
    func translated(by translation: Translation) -> Self {
        let isToService = destination.address == translation.address
        func end(_ end: End, isService: Bool) -> End {
            End(
                address: isService ? translation.newAddress : end.address,
                port: end.port.map { _ in
                    isService ? translation.newPort : translation.newPeerPort
                })
        }
        return Self(
            transport: transport, source: end(source, isService: !isToService),
            destination: end(destination, isService: isToService))
    }

    /// A frame with the packet, which has nothing but what the rule looks at.
    ///
    /// A TCP segment has SYN if it is a request, and otherwise ACK. ICMP is always an echo request.
    func frame(
        from: MACAddress, to: MACAddress, isToGroup: Bool = false, isRequest: Bool = false
    ) -> [UInt8] {
        let to = isToGroup ? .broadcast : to
        var transport: [UInt8] = []
        transport.append(bigEndian: source.port ?? 0)
        transport.append(bigEndian: destination.port ?? 0)
        transport += [UInt8](repeating: 0, count: 16)
        switch requestKind {
        case .connection: transport[TCPHeader.flags] = isRequest ? TCPHeader.syn : TCPHeader.ack
        case .ping:
            transport[ICMPHeader.type] =
                self.transport == IPProtocol.icmpv6
                ? ICMPHeader.echoRequestV6 : ICMPHeader.echoRequest
        case nil: break
        }
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
    /// Whether it is a multicast address (RFC 1112, RFC 4291), or the limited broadcast.
    var isGroup: Bool {
        family == .ipv4 ? bytes[0] >> 4 == 0xe || low == 0xffff_ffff : bytes[0] == 0xff
    }
}
