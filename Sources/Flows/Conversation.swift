package import Addressing
import Packets

/// A client and what it calls: a service at an address and a port, over any number of connections.
///
/// Protocols without ports have none. The client is the one that opens a connection; where no opening is
/// seen it is the one with the higher port, and at last the one that was seen sending first.
package struct Conversation: Hashable, Sendable {
    package let client: IPAddress
    package let service: IPAddress
    /// The number of the protocol over IP.
    package let transport: UInt8
    /// The service's port; nil for protocols without ports, and for fragments.
    package let port: UInt16?

    package init(client: IPAddress, service: IPAddress, transport: UInt8, port: UInt16?) {
        (self.client, self.service) = (client, service)
        (self.transport, self.port) = (transport, port)
    }

    /// The protocol's name, or its number: `"tcp"`, `"protocol 112"`.
    package var transportName: String {
        switch transport {
        case IPProtocol.tcp: "tcp"
        case IPProtocol.udp: "udp"
        case IPProtocol.sctp: "sctp"
        case IPProtocol.icmp, IPProtocol.icmpv6: "icmp"
        default: "protocol \(transport)"
        }
    }

    /// The port and the protocol: `"80/tcp"`, or the protocol alone.
    package var portText: String {
        port.map { "\($0)/\(transportName)" } ?? transportName
    }
}

/// What the two ends of a conversation have sent, and how its requests ended.
package struct ConversationCounts: Equatable, Sendable {
    /// Packets and bytes of the client; the bytes are those of frames as they were on the wire.
    package private(set) var client = Traffic()
    /// Packets and bytes of the service.
    package private(set) var service = Traffic()
    /// When the first and the last packet were captured, in nanoseconds since 1970.
    package private(set) var first: UInt64
    package private(set) var last: UInt64
    /// Connections that were asked for, and pings.
    package internal(set) var requestCount = 0
    /// Requests that were refused, by a reset or an ICMP error.
    package internal(set) var refusedCount = 0
    /// Requests that nobody has answered in time.
    package internal(set) var unansweredCount = 0

    /// What one end has sent.
    package struct Traffic: Equatable, Sendable {
        package private(set) var packetCount: UInt64 = 0
        package private(set) var byteCount: UInt64 = 0

        fileprivate mutating func add(byteCount: Int) {
            packetCount += 1
            self.byteCount += UInt64(byteCount)
        }
    }

    /// Counts of a conversation that begins.
    init(at nanoseconds: UInt64) { (first, last) = (nanoseconds, nanoseconds) }

    /// Counts a packet.
    mutating func add(_ byteCount: Int, isFromClient: Bool, at nanoseconds: UInt64) {
        first = min(first, nanoseconds)
        last = max(last, nanoseconds)
        if isFromClient {
            client.add(byteCount: byteCount)
        } else {
            service.add(byteCount: byteCount)
        }
    }

    package var packetCount: UInt64 { client.packetCount + service.packetCount }
    package var byteCount: UInt64 { client.byteCount + service.byteCount }
}
