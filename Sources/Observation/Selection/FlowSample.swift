package import Addressing
package import Packets

/// A part of all flows: each whole, in both directions, or not at all.
///
/// Which flows belong to it follows from their addresses and ports alone, so all agents choose the
/// same, at whatever edge they see a flow.
package struct FlowSample: Equatable, Sendable {
    /// One of how many flows belongs to the sample.
    package let flowCount: UInt32

    /// A sample of one flow in this many, at least two.
    package init(oneIn flowCount: UInt32) { self.flowCount = max(2, flowCount) }

    /// Whether a flow belongs to the sample, seen from either end.
    package func contains(_ flow: FlowKey) -> Bool {
        Self.hash(
            addresses: Self.sum(flow.source) &+ Self.sum(flow.destination),
            ports: UInt32(flow.sourcePort) &+ UInt32(flow.destinationPort),
            transport: flow.transport) % flowCount == 0
    }

    /// The sum of an address's words, which wraps.
    private static func sum(_ address: IPAddress) -> UInt32 {
        let low = UInt32(truncatingIfNeeded: address.low) &+ UInt32(address.low >> 32)
        return low &+ UInt32(truncatingIfNeeded: address.high) &+ UInt32(address.high >> 32)
    }

    /// Mixes what is the same in both directions: sums.
    ///
    /// Programs do the same with the same numbers (`Step9Selection`); the numbers are those of
    /// MurmurHash3's last steps, and of the golden ratio.
    static func hash(addresses: UInt32, ports: UInt32, transport: UInt8) -> UInt32 {
        let first = mix(addresses, multiplier: addressMultiplier, shift: addressShift)
        let second = first ^ (ports &+ UInt32(transport) << transportShift)
        let third = mix(second, multiplier: portMultiplier, shift: portShift)
        return mix(third, multiplier: lastMultiplier, shift: lastShift)
    }

    private static func mix(_ value: UInt32, multiplier: UInt32, shift: UInt32) -> UInt32 {
        let product = value &* multiplier
        return product ^ product >> shift
    }

    static let addressMultiplier: UInt32 = 0x9e37_79b1
    static let addressShift: UInt32 = 15
    static let transportShift: UInt32 = 17
    static let portMultiplier: UInt32 = 0x85eb_ca6b
    static let portShift: UInt32 = 13
    static let lastMultiplier: UInt32 = 0xc2b2_ae35
    static let lastShift: UInt32 = 16
}

extension FlowKey {
    /// The flow to which a packet belongs in the form in which it is reported.
    ///
    /// An ICMP error belongs to the flow that it quotes.
    ///
    /// - Parameters:
    ///   - packet: The packet's headers, with the ports of its datagram's first fragment.
    ///   - frame: The frame that has it.
    ///   - translation: The change into the form in which it is reported.
    package init(of packet: IPPacket, in frame: RawSpan, reportedWith translation: Translation?) {
        let own = FlowKey(packet.quoted(in: frame) ?? packet)
        self = translation.map { $0.applied(to: own) } ?? own
    }
}

extension Translation {
    /// The flow of a packet as it is after the translation.
    func applied(to flow: FlowKey) -> FlowKey {
        let hasPorts = IPProtocol.hasPorts(flow.transport)
        func end(_ own: UInt16, _ other: UInt16) -> (own: UInt16, other: UInt16) {
            guard hasPorts else { return (own, other) }
            return (own == port ? newPort : own, other == peerPort ? newPeerPort : other)
        }
        if flow.source == address {
            let ports = end(flow.sourcePort, flow.destinationPort)
            return FlowKey(
                transport: flow.transport, source: newAddress, destination: flow.destination,
                sourcePort: ports.own, destinationPort: ports.other)
        }
        guard flow.destination == address else { return flow }
        let ports = end(flow.destinationPort, flow.sourcePort)
        return FlowKey(
            transport: flow.transport, source: flow.source, destination: newAddress,
            sourcePort: ports.other, destinationPort: ports.own)
    }
}
