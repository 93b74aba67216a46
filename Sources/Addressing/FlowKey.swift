/// One direction of a flow, as a packet shows it. An ICMP echo has its identifier in both ports, all
/// other protocols without ports have zeros.
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

    package var reversed: Self {
        Self(
            transport: transport, source: destination, destination: source,
            sourcePort: destinationPort, destinationPort: sourcePort)
    }
}

/// What connection tracking makes of a flow: both of its directions, each as the packets look where
/// they begin.
package struct TrackedFlow: Hashable, Sendable {
    /// From the client to what it calls.
    package let original: FlowKey
    /// From what answers to whom it believes it is answering.
    package let reply: FlowKey

    package init(original: FlowKey, reply: FlowKey) {
        (self.original, self.reply) = (original, reply)
    }

    package var isTranslated: Bool {
        original.destination != reply.source || original.destinationPort != reply.sourcePort
    }

    /// Whether the backend sees another caller than the one who called.
    package var isMasqueraded: Bool { original.source != reply.destination }

    /// Whether the backend sees another port of the caller's, since two calls would look alike.
    package var isPortChanged: Bool { original.sourcePort != reply.destinationPort }
}
