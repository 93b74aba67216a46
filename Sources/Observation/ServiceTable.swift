package import Addressing
import Packets

/// What has been learned about services: whether pods stand behind them, and the highest port that
/// one of these listens on. A client's port above that means that the server's edge reports.
package struct ServiceTable: Sendable {
    private var entries = BoundedTable<ServiceKey, Service>(
        countMax: countMax, ageNanoseconds: ageNanoseconds)
    /// Grows whenever something new is learned.
    package private(set) var changeCount = 0

    /// Few clusters have more services that one node's pods call within a minute; each takes about
    /// five instructions of a program.
    static let countMax = 256
    static let ageNanoseconds: UInt64 = 60_000_000_000

    private struct Service: Sendable {
        /// Whether a lower backend's port means that the backend's edge reports.
        var isPodBacked: Bool
        var highestPort: UInt16
    }

    mutating func learn(_ flow: TrackedFlow, isPod: Bool, now: UInt64) {
        guard let key = ServiceKey(flow.original) else { return }
        // What a pod sends to itself is reported where it enters, whatever the ports; and where the
        // client's port is changed on the way, it says nothing.
        let isToItself = flow.original.source == flow.reply.source && !flow.isMasqueraded
        let isPodBacked =
            isPod && flow.isTranslated && !isToItself && (!flow.isPortChanged || flow.isMasqueraded)
        guard let known = entries.value(for: key, now: now) else {
            let service = Service(isPodBacked: isPodBacked, highestPort: flow.reply.sourcePort)
            changeCount += 1
            return entries.set(service, for: key, now: now)
        }
        let service = Service(
            isPodBacked: known.isPodBacked && isPodBacked,
            highestPort: max(known.highestPort, flow.reply.sourcePort))
        guard service.isPodBacked != known.isPodBacked || service.highestPort > known.highestPort
        else { return }
        entries.set(service, for: key, now: now)
        changeCount += 1
    }

    /// The highest port behind the service that a request goes to; nil if it is not known, or not
    /// only pods stand behind it.
    mutating func highestBackendPort(of request: FlowKey, now: UInt64) -> UInt16? {
        guard let key = ServiceKey(request), let service = entries.value(for: key, now: now),
            service.isPodBacked
        else { return nil }
        return service.highestPort
    }

    /// The services whose packets a program can drop by the client's port alone, with the port that
    /// it has to be above.
    package func dropList(now: UInt64) -> [ServiceKey: UInt16] {
        entries.all(now: now).filter(\.value.isPodBacked).mapValues(\.highestPort)
    }

    /// Whether programs made from an older drop list drop what they must not.
    package func contradicts(_ dropList: [ServiceKey: UInt16], now: UInt64) -> Bool {
        entries.all(now: now).contains { key, service in
            guard let port = dropList[key] else { return false }
            return !service.isPodBacked || service.highestPort > port
        }
    }
}

/// A service as its clients know it.
package struct ServiceKey: Hashable, Sendable, Comparable {
    package let transport: UInt8
    package let address: IPAddress
    package let port: UInt16

    package init(transport: UInt8, address: IPAddress, port: UInt16) {
        (self.transport, self.address, self.port) = (transport, address, port)
    }

    /// The service that a request goes to; nil for protocols without ports.
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
