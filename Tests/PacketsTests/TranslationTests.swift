import Addressing
import Packets
import Testing

/// Translated packets, which must equal packets made with the new addresses, checksums included.
///
/// Checksums are computed by code of the tests, as RFC 1071 says, and not by the code under test.
@Suite("A translation")
struct TranslationTests {
    private static let client4 = address("10.244.1.2"), client6 = address("fd00:10:244:1::2")
    private static let service4 = address("10.96.0.10"), service6 = address("fd00:10:96::a")
    private static let backend4 = address("10.244.2.2"), backend6 = address("fd00:10:244:2::2")

    struct Case: Sendable, CustomTestStringConvertible {
        let name: String
        let family: IPAddress.Family
        let transport: UInt8
        var isReply = false
        var payload: [UInt8] = Array(1...33)
        var testDescription: String { "\(name), IPv\(family.rawValue)" }

        /// The frame where the service has this address and port.
        func frame(_ service: IPAddress, _ port: UInt16) -> [UInt8] {
            let client = family == .ipv4 ? client4 : client6
            let call = Packet(
                transport: transport, from: client, 40_000, to: service, port, payload)
            return ethernet(family, isReply ? call.reversed.bytes : call.bytes)
        }

        var service: IPAddress { family == .ipv4 ? service4 : service6 }
        var backend: IPAddress { family == .ipv4 ? backend4 : backend6 }
    }

    static let cases: [Case] = IPAddress.Family.allCases.flatMap { family in
        [
            Case(name: "TCP", family: family, transport: 6),
            Case(name: "TCP reply", family: family, transport: 6, isReply: true),
            Case(name: "UDP", family: family, transport: 17),
            Case(name: "UDP reply", family: family, transport: 17, isReply: true),
            Case(name: "no payload", family: family, transport: 6, payload: []),
        ]
    }

    @Test("makes the packet that the backend would have got", arguments: cases)
    func whole(_ test: Case) {
        let translated = translate(
            test.frame(test.service, 80), test.service, 80, to: test.backend, 8080)
        #expect(translated == test.frame(test.backend, 8080))
        // And back, as for a reply.
        let back = translate(translated, test.backend, 8080, to: test.service, 80)
        #expect(back == test.frame(test.service, 80))
    }

    @Test("keeps a partial checksum partial", arguments: cases)
    func partial(_ test: Case) {
        let frames = [(test.service, UInt16(80)), (test.backend, 8080)].map { service, port in
            Packet(
                transport: test.transport, from: test.family == .ipv4 ? Self.client4 : Self.client6,
                40_000, to: service, port, test.payload, isPartial: true)
        }.map { ethernet(test.family, $0.bytes) }
        let translated = translate(
            frames[0], test.service, 80, to: test.backend, 8080, isPartial: true)
        #expect(translated == frames[1])
    }

    @Test("changes the client's port as well, if the node has", arguments: [false, true])
    func clientPort(isReply: Bool) {
        let frames = [(Self.service4, 80, 40_000), (Self.backend4, 8080, 1025)].map {
            service, port, clientPort in
            let call = Packet(
                transport: 6, from: Self.client4, UInt16(clientPort), to: service, UInt16(port), [1]
            )
            return ethernet(.ipv4, isReply ? call.reversed.bytes : call.bytes)
        }
        var frame = frames[0]
        guard let packet = Headers(frame.wire).packet else { return }
        var span = frame.mutableSpan
        var bytes = unsafe span.mutableBytes
        let flow = flow(
            to: Self.service4, 80, translatedTo: Self.backend4, 8080, clientPorts: (40_000, 1025))
        Translation(flow)?.apply(to: &bytes, packet, hasPartialChecksum: false)
        #expect(frame == frames[1])
    }

    @Test("computes an SCTP checksum anew", arguments: IPAddress.Family.allCases)
    func sctp(family: IPAddress.Family) {
        let isIPv4 = family == .ipv4
        let client = isIPv4 ? Self.client4 : Self.client6
        let services = isIPv4 ? [Self.service4, Self.backend4] : [Self.service6, Self.backend6]
        let frames = zip(services, [80, 8080] as [UInt16]).map { service, port in
            var segment: [UInt8] = []
            segment.append(bigEndian: UInt16(40_000))
            segment.append(bigEndian: port)
            segment += [0, 0, 0, 9, 0, 0, 0, 0, 14, 0, 0, 4]
            // From the polynomial, bit by bit.
            var rest = UInt32.max
            for bit in segment.flatMap({ byte in (0..<8).map { byte >> $0 & 1 } }) {
                let isOdd = rest & 1 != UInt32(bit)
                rest = rest >> 1 ^ (isOdd ? 0x82f6_3b78 : 0)
            }
            for index in 0..<4 {
                segment[8 + index] = UInt8(truncatingIfNeeded: ~rest >> (8 * index))
            }
            return ethernet(family, ip(132, client, service, segment))
        }
        let translated = translate(frames[0], services[0], 80, to: services[1], 8080)
        #expect(translated == frames[1])
    }

    @Test("leaves a UDP checksum of 0 alone")
    func withoutChecksum() {
        var frame = Case(name: "", family: .ipv4, transport: 17).frame(Self.service4, 80)
        (frame[40], frame[41]) = (0, 0)
        let translated = translate(frame, Self.service4, 80, to: Self.backend4, 8080)
        #expect(translated[40] == 0 && translated[41] == 0)
    }

    @Test("never makes a UDP checksum of 0")
    func checksumOfZero() {
        // Among all payloads of two bytes there is one for which the sum comes out as 0.
        for number in 0...UInt16.max {
            let payload = [UInt8(number >> 8), UInt8(number & 0xff)]
            let test = Case(name: "", family: .ipv4, transport: 17, payload: payload)
            let wanted = test.frame(Self.backend4, 8080)
            guard wanted[40] == 0xff, wanted[41] == 0xff else { continue }
            let translated = translate(
                test.frame(Self.service4, 80), Self.service4, 80, to: Self.backend4, 8080)
            #expect(translated == wanted)
            return
        }
        Issue.record("no such payload")
    }

    @Test(
        "goes into what an ICMP error quotes", arguments: IPAddress.Family.allCases,
        [6, 17] as [UInt8])
    func error(family: IPAddress.Family, transport: UInt8) {
        let test = Case(name: "", family: family, transport: transport)
        let frames = [(test.service, UInt16(80)), (test.backend, 8080)].map { service, port in
            let quoted = Array(test.frame(service, port).dropFirst(14))
            return ethernet(family, icmpError(from: service, to: quoted, family))
        }
        let translated = translate(frames[0], test.service, 80, to: test.backend, 8080)
        #expect(translated == frames[1])
    }

    @Test("changes later fragments of a datagram only where the addresses are")
    func fragment() {
        var frames = [(Self.service4, UInt16(80)), (Self.backend4, 8080)].map { service, port in
            // The bytes behind the header look like ports, and are none.
            Packet(
                transport: 17, from: Self.client4, 40_000, to: service, 80,
                [UInt8](repeating: 0, count: 8), fragment: 0x0003)
        }.map { ethernet(.ipv4, $0.bytes) }
        // The bytes that would be a checksum depend on the address; here they are data.
        frames[1].replaceSubrange(34..., with: frames[0][34...])
        let translated = translate(frames[0], Self.service4, 80, to: Self.backend4, 8080)
        #expect(translated == frames[1])
    }

    @Test("does not read or write behind the end", arguments: cases)
    func cutShort(_ test: Case) {
        let whole = test.frame(test.service, 80)
        for byteCount in 0..<whole.count {
            let cut = Array(whole.prefix(byteCount))
            let translated = translate(cut, test.service, 80, to: test.backend, 8080)
            #expect(translated.count == byteCount)
        }
    }
}

private func address(_ text: String) -> IPAddress { IPAddress(text) ?? IPAddress(ipv4: 0) }

private func translate(
    _ frame: [UInt8], _ address: IPAddress, _ port: UInt16, to newAddress: IPAddress,
    _ newPort: UInt16, isPartial: Bool = false
) -> [UInt8] {
    var frame = frame
    guard let packet = Headers(frame.wire).packet else { return frame }
    var span = frame.mutableSpan
    var bytes = unsafe span.mutableBytes
    let flow = flow(to: address, port, translatedTo: newAddress, newPort)
    Translation(flow)?.apply(to: &bytes, packet, hasPartialChecksum: isPartial)
    return frame
}

private func flow(
    to address: IPAddress, _ port: UInt16, translatedTo newAddress: IPAddress, _ newPort: UInt16,
    clientPorts: (UInt16, UInt16) = (40_000, 40_000)
) -> TrackedFlow {
    let client = IPAddress(ipv4: 1)
    return TrackedFlow(
        original: FlowKey(
            transport: 6, source: client, destination: address, sourcePort: clientPorts.0,
            destinationPort: port),
        reply: FlowKey(
            transport: 6, source: newAddress, destination: client, sourcePort: newPort,
            destinationPort: clientPorts.1))
}

private func ethernet(_ family: IPAddress.Family, _ packet: [UInt8]) -> [UInt8] {
    var frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2]
    frame.append(bigEndian: family == .ipv4 ? EtherType.ipv4 : EtherType.ipv6)
    return frame + packet
}

/// Returns the sum of RFC 1071, computed as the RFC defines it.
private func sum(_ bytes: [UInt8]) -> UInt16 {
    var sum = 0
    for (index, byte) in bytes.enumerated() { sum += Int(byte) << (index % 2 == 0 ? 8 : 0) }
    while sum > 0xffff { sum = sum & 0xffff + sum >> 16 }
    return UInt16(sum)
}

/// A TCP or UDP packet over IPv4 or IPv6.
private struct Packet {
    let transport: UInt8
    let source: IPAddress
    let sourcePort: UInt16
    let destination: IPAddress
    let destinationPort: UInt16
    let payload: [UInt8]
    let isPartial: Bool
    let fragment: UInt16

    init(
        transport: UInt8, from source: IPAddress, _ sourcePort: UInt16, to destination: IPAddress,
        _ destinationPort: UInt16, _ payload: [UInt8], isPartial: Bool = false,
        fragment: UInt16 = 0
    ) {
        self.transport = transport
        (self.source, self.sourcePort) = (source, sourcePort)
        (self.destination, self.destinationPort) = (destination, destinationPort)
        self.payload = payload
        self.isPartial = isPartial
        self.fragment = fragment
    }

    var reversed: Packet {
        Packet(
            transport: transport, from: destination, destinationPort, to: source, sourcePort,
            payload)
    }

    var bytes: [UInt8] {
        var segment: [UInt8] = []
        segment.append(bigEndian: sourcePort)
        segment.append(bigEndian: destinationPort)
        segment +=
            transport == 6
            ? [0, 0, 0, 9, 0, 0, 0, 8, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]
            : [UInt8(0), UInt8(8 + payload.count), 0, 0]
        segment += payload
        var pseudo = source.bytes + destination.bytes
        pseudo += [0, transport, 0, UInt8(segment.count)]
        var checksum = isPartial ? sum(pseudo) : ~sum(pseudo + segment)
        if transport == 17, checksum == 0, !isPartial { checksum = 0xffff }
        let offset = transport == 6 ? 16 : 6
        segment[offset] = UInt8(checksum >> 8)
        segment[offset + 1] = UInt8(checksum & 0xff)
        return ip(transport, source, destination, segment, fragment: fragment)
    }
}

private func ip(
    _ transport: UInt8, _ source: IPAddress, _ destination: IPAddress, _ payload: [UInt8],
    fragment: UInt16 = 0
) -> [UInt8] {
    guard source.family == .ipv4 else {
        return [0x60, 0, 0, 0, 0, UInt8(payload.count), transport, 64] + source.bytes
            + destination.bytes + payload
    }
    var header: [UInt8] = [0x45, 0, 0, UInt8(20 + payload.count), 0x12, 0x34]
    header.append(bigEndian: fragment)
    header += [64, transport, 0, 0] + source.bytes + destination.bytes
    let checksum = ~sum(header)
    (header[10], header[11]) = (UInt8(checksum >> 8), UInt8(checksum & 0xff))
    return header + payload
}

/// An ICMP error with which the destination says that its port is closed.
private func icmpError(
    from source: IPAddress, to quoted: [UInt8], _ family: IPAddress.Family
) -> [UInt8] {
    let isIPv4 = family == .ipv4
    let client = IPAddress(family, quoted.wire, at: isIPv4 ? 12 : 8)
    var message: [UInt8] = [isIPv4 ? 3 : 1, isIPv4 ? 3 : 4, 0, 0, 0, 0, 0, 0] + quoted
    var covered = message
    if !isIPv4 {
        covered =
            source.bytes + client.bytes + [0, 0, 0, UInt8(message.count), 0, 0, 0, 58] + message
    }
    let checksum = ~sum(covered)
    (message[2], message[3]) = (UInt8(checksum >> 8), UInt8(checksum & 0xff))
    return ip(isIPv4 ? 1 : 58, source, client, message)
}
