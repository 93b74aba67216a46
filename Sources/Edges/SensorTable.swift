import Settings
import Addressing

/// The addresses that the feeds go to: what each sensor's name means at present, and the peers of
/// live sessions. All captures ask it, so that none reports another's feed.
struct SensorTable: Sendable {
    private var addresses: [SensorName: Set<IPAddress>] = [:]
    /// Clients that have dialled the agent, and how many sessions each has.
    private var sessionCounts: [IPAddress: Int] = [:]

    /// A name that means another machine each time must not fill the table.
    static let addressCountMaxPerSensor = 16

    var all: Set<IPAddress> {
        addresses.values.reduce(into: Set(sessionCounts.keys)) { $0.formUnion($1) }
    }

    /// Says that a client has begun a session, or ended one, and answers whether that is news.
    mutating func addClient(_ address: IPAddress) -> Bool {
        sessionCounts[address, default: 0] += 1
        return sessionCounts[address] == 1
    }

    mutating func removeClient(_ address: IPAddress) -> Bool {
        guard let count = sessionCounts[address] else { return false }
        sessionCounts[address] = count > 1 ? count - 1 : nil
        return count == 1
    }

    /// Says where a sensor is, and answers whether that is new. A sensor that has moved keeps its
    /// old addresses, too, until there are too many.
    mutating func add(_ new: [IPAddress], of sensor: SensorName) -> Bool {
        let known = addresses[sensor, default: []]
        var wanted = known.union(new)
        if wanted.count > Self.addressCountMaxPerSensor { wanted = Set(new) }
        addresses[sensor] = wanted
        return wanted != known
    }
}
