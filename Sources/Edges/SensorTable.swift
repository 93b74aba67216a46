import Addressing
import Settings

/// The addresses that feeds go to: those of the sensors, and of clients with a session.
///
/// All captures use it, so that none reports another one's feed.
struct SensorTable: Sendable {
    /// The addresses that each sensor's name has at present.
    private var addresses: [SensorName: Set<IPAddress>] = [:]
    /// The number of sessions of each client that has dialled the agent.
    private var sessionCounts: [IPAddress: Int] = [:]

    /// The most addresses for each sensor, so that a name that changes at each look fills no memory.
    static let addressCountMaxPerSensor = 16

    /// All addresses.
    var all: Set<IPAddress> {
        addresses.values.reduce(into: Set(sessionCounts.keys)) { $0.formUnion($1) }
    }

    /// Adds a session of a client.
    ///
    /// - Returns: Whether `all` has changed.
    mutating func addClient(_ address: IPAddress) -> Bool {
        sessionCounts[address, default: 0] += 1
        return sessionCounts[address] == 1
    }

    /// Removes a session of a client.
    ///
    /// - Returns: Whether `all` has changed.
    mutating func removeClient(_ address: IPAddress) -> Bool {
        guard let count = sessionCounts[address] else { return false }
        sessionCounts[address] = count > 1 ? count - 1 : nil
        return count == 1
    }

    /// Adds the addresses of a sensor, which keeps its old ones until there are too many.
    ///
    /// - Returns: Whether the sensor's addresses have changed.
    mutating func add(_ new: [IPAddress], of sensor: SensorName) -> Bool {
        let known = addresses[sensor, default: []]
        var wanted = known.union(new)
        if wanted.count > Self.addressCountMaxPerSensor { wanted = Set(new) }
        addresses[sensor] = wanted
        return wanted != known
    }
}
