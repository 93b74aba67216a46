package import Addressing
import Packets
package import Time

/// The services that user space has learned about, with the highest port of their backends.
///
/// If a service has pods only behind it and the client's port is above the highest backend port,
/// the backend's edge is the observed end's and reports, whichever backend it is.
package struct ServiceTable: Sendable {
    private var entries = BoundedTable<ServiceKey, Service>(
        countMax: countMax, age: age)
    /// Increases whenever something new is learned.
    package private(set) var changeCount = 0

    /// More services than the pods of one node call within a minute in most clusters.
    ///
    /// Each takes about five instructions of a program.
    static let countMax = 256
    static let age = Duration.seconds(60)

    private struct Service: Sendable {
        /// Whether the backend's edge is sure to report when the backend's port is the lower one.
        var isPodBacked: Bool
        var highestPort: UInt16
        /// Whether each new flow is seen, so that a backend with a higher port is.
        var areFlowsSeen: Bool

        var canBeDropped: Bool { isPodBacked && areFlowsSeen }
    }

    /// Stores what a tracked flow shows about its service.
    ///
    /// Where no event tells of new flows, only TCP's show, since programs drop no segment with SYN.
    mutating func learn(
        _ flow: TrackedFlow, isPod: Bool, hasEvents: Bool = true, now: MonotonicTime
    ) {
        guard let key = ServiceKey(flow.original) else { return }
        let areFlowsSeen = hasEvents || key.transport == IPProtocol.tcp
        // Packets of a pod to itself are reported where they enter the node, whatever the ports.
        // And if the client's port is translated, the backend's edge compares another port.
        let isToItself = flow.original.source == flow.reply.source && !flow.isMasqueraded
        let isPodBacked =
            isPod && flow.isTranslated && !isToItself && (!flow.isPortChanged || flow.isMasqueraded)
        guard let known = entries.touch(key, now: now) else {
            let service = Service(
                isPodBacked: isPodBacked, highestPort: flow.reply.sourcePort,
                areFlowsSeen: areFlowsSeen)
            changeCount += 1
            return entries.set(service, for: key, now: now)
        }
        let service = Service(
            isPodBacked: known.isPodBacked && isPodBacked,
            highestPort: max(known.highestPort, flow.reply.sourcePort),
            areFlowsSeen: known.areFlowsSeen && areFlowsSeen)
        guard
            service.canBeDropped != known.canBeDropped || service.isPodBacked != known.isPodBacked
                || service.highestPort > known.highestPort
        else { return }
        entries.set(service, for: key, now: now)
        changeCount += 1
    }

    /// Returns the highest backend port of a request's service, and marks the service as used.
    ///
    /// - Returns: nil if the service is not known, or has more than pods behind it.
    mutating func touchHighestBackendPort(of request: FlowKey, now: MonotonicTime) -> UInt16? {
        guard let key = ServiceKey(request), let service = entries.touch(key, now: now),
            service.isPodBacked
        else { return nil }
        return service.highestPort
    }

    /// Returns the services whose packets a program can drop by the client's port alone.
    ///
    /// The value is the highest backend port: packets are dropped if the client's port is above it.
    package func dropList(now: MonotonicTime) -> [ServiceKey: UInt16] {
        entries.all(now: now).filter(\.value.canBeDropped).mapValues(\.highestPort)
    }

    /// Whether programs made from an older drop list drop packets that they must not drop.
    package func contradicts(_ dropList: [ServiceKey: UInt16], now: MonotonicTime) -> Bool {
        entries.all(now: now).contains { key, service in
            guard let port = dropList[key] else { return false }
            return !service.canBeDropped || service.highestPort > port
        }
    }
}

/// A service as its clients address it: protocol, address and port.
package struct ServiceKey: Hashable, Sendable, Comparable {
    package let transport: UInt8
    package let address: IPAddress
    package let port: UInt16

    package init(transport: UInt8, address: IPAddress, port: UInt16) {
        (self.transport, self.address, self.port) = (transport, address, port)
    }

    /// Takes the service from a request to it; nil for protocols without ports.
    init?(_ request: FlowKey) {
        guard IPProtocol.withPorts.contains(request.transport) else { return nil }
        self.init(
            transport: request.transport, address: request.destination,
            port: request.destinationPort)
    }

    package static func < (left: Self, right: Self) -> Bool {
        (left.address, left.transport, left.port) < (right.address, right.transport, right.port)
    }
}
