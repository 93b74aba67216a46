/// A flow in one direction: protocol, addresses and ports, as its packets show them.
///
/// An ICMP echo has its identifier in both ports. Other protocols without ports have zeros.
package struct FlowKey: Hashable, Sendable {
    package let transport: UInt8
    package let source: IPAddress
    package let destination: IPAddress
    package let sourcePort: UInt16
    package let destinationPort: UInt16

    package init(
        transport: UInt8, source: IPAddress, destination: IPAddress, sourcePort: UInt16,
        destinationPort: UInt16
    ) {
        self.transport = transport
        self.source = source
        self.destination = destination
        self.sourcePort = sourcePort
        self.destinationPort = destinationPort
    }

    /// Hashes all that tells flows apart, in as few words as there are.
    ///
    /// Each lookup of a flow hashes it, and a new call to a service is looked up several times.
    package func hash(into hasher: inout Hasher) {
        let ports = UInt64(sourcePort) << 16 | UInt64(destinationPort)
        hasher.combine(source.low)
        hasher.combine(destination.low)
        hasher.combine(UInt64(transport) << 32 | ports)
        guard source.family == .ipv6 else { return }
        hasher.combine(source.high)
        hasher.combine(destination.high)
    }

    /// The opposite direction.
    package var reversed: Self {
        Self(
            transport: transport, source: destination, destination: source,
            sourcePort: destinationPort, destinationPort: sourcePort)
    }
}

/// A flow as connection tracking has it: both directions, each as its packets look at their sender.
package struct TrackedFlow: Hashable, Sendable {
    /// From the client to what it calls.
    package let original: FlowKey
    /// From the backend to the client that it sees.
    package let reply: FlowKey

    package init(original: FlowKey, reply: FlowKey) {
        (self.original, self.reply) = (original, reply)
    }

    /// Whether the client called another address or port than the backend's.
    package var isTranslated: Bool {
        original.destination != reply.source || original.destinationPort != reply.sourcePort
    }

    /// Whether the backend sees another client than the one that called.
    package var isMasqueraded: Bool { original.source != reply.destination }

    /// Whether the backend sees the client as it is, though the client called another address.
    package var isThroughFront: Bool {
        original.destination != reply.source && !isMasqueraded && !original.destination.isLoopback
    }

    /// Whether the backend sees another port of the client's.
    ///
    /// Connection tracking changes it if two flows would otherwise look alike.
    package var isPortChanged: Bool { original.sourcePort != reply.destinationPort }
}
