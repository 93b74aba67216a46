import Frames
import Synchronization

/// The addresses that the feeds go to: what each sensor's name means at present, and the peers of
/// live sessions. All captures ask it, so that none reports another's feed.
final class SensorTable: Sendable {
    private let addresses = Mutex<[SensorName: Set<IPAddress>]>([:])
    private let changeCount = Atomic<Int>(0)

    /// Grows whenever an address is added.
    var version: Int { changeCount.load(ordering: .acquiring) }

    var all: Set<IPAddress> {
        addresses.withLock { $0.values.reduce(into: []) { $0.formUnion($1) } }
    }

    /// Says where a sensor is. A sensor that has moved keeps its old addresses, too, until there
    /// are more than this; a name that means another machine each time must not fill the table.
    static let addressCountMaxPerSensor = 16

    func add(_ new: [IPAddress], of sensor: SensorName) {
        let hasChanged = addresses.withLock { table in
            let known = table[sensor, default: []]
            var wanted = known.union(new)
            if wanted.count > Self.addressCountMaxPerSensor { wanted = Set(new) }
            table[sensor] = wanted
            return wanted != known
        }
        if hasChanged { changeCount.add(1, ordering: .releasing) }
    }
}
