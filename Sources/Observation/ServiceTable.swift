package import Frames

/// What has been learned about services: whether pods stand behind them, and the highest port that
/// one of these listens on. A client's port above that means that the server's edge reports.
package struct ServiceTable: Sendable {
    private var entries = BoundedTable<ServiceKey, Service>(
        countMax: countMax, ageNanoseconds: ageNanoseconds)
    /// Grows whenever the kernel's programs would look different.
    package private(set) var version = 0

    /// Few clusters have more services that one node's pods call within a minute; each takes eight
    /// instructions of a program at most.
    static let countMax = 256
    static let ageNanoseconds: UInt64 = 60_000_000_000

    /// A service as its clients know it.
    package struct ServiceKey: Hashable, Sendable, Comparable {
        package let transport: UInt8
        package let address: IPAddress
        package let port: UInt16

        package static func < (left: Self, right: Self) -> Bool {
            (left.address, left.port, left.transport) < (right.address, right.port, right.transport)
        }
    }

    private struct Service: Sendable {
        var isPodBacked: Bool
        var highestPort: UInt16
    }

    mutating func learn(_ flow: TrackedFlow, isPod: Bool, now: UInt64) {
        let key = ServiceKey(
            transport: flow.original.transport, address: flow.original.destination,
            port: flow.original.destinationPort)
        let known = entries.value(for: key, now: now)
        var service = known ?? Service(isPodBacked: true, highestPort: 0)
        let before = (service.isPodBacked, service.highestPort)
        if !isPod || !flow.isTranslated { service.isPodBacked = false }
        service.highestPort = max(service.highestPort, flow.reply.sourcePort)
        entries.set(service, for: key, now: now)
        if known == nil || before != (service.isPodBacked, service.highestPort) { version += 1 }
    }

    /// The highest port behind the service that a request goes to; nil if it is not known, or not
    /// only pods stand behind it.
    mutating func highestBackendPort(of request: FlowKey, now: UInt64) -> UInt16? {
        let key = ServiceKey(
            transport: request.transport, address: request.destination,
            port: request.destinationPort)
        guard let service = entries.value(for: key, now: now), service.isPodBacked else {
            return nil
        }
        return service.highestPort
    }

    /// The services whose packets a program can drop by the client's port alone, with that port.
    package mutating func dropList(now: UInt64) -> [ServiceKey: UInt16] {
        entries.all(now: now).filter { $0.value.isPodBacked && $0.key.port != 0 }
            .mapValues(\.highestPort)
    }
}
