import Addressing
import Linux
import Log
import Logging
import Metrics
import Netlink
import Settings
import Time

/// What feeds one sensor on a thread of its own, as `SensorOrders` say.
protocol SensorFeeder {
    var context: SessionContext { get }
    var orders: SensorOrders { get }
    var logger: Logger { get }
    var backoff: Backoff { get set }

    /// Feeds the sensor until that ends.
    mutating func serve()

    /// Looks whether the sensor is there.
    func probe()
}

extension SensorFeeder {
    /// The least wait before a sensor is dialled again while a newer agent of the node is there.
    ///
    /// A sensor that takes one session of a node leaves the older agent for the newer one. If that one
    /// dialled at once, the two would drive each other out in turn.
    private static var accompaniedPause: Duration { .seconds(3) }

    /// Feeds the sensor until the agent stops, whenever it is to be fed.
    mutating func followOrders() {
        while !context.stop.isGiven {
            var delay: Duration?
            switch orders.order {
            case .rest: break
            case .probe:
                probe()
                delay = SensorOrders.probeInterval
            case .serve:
                serve()
                var pause = backoff.next()
                if context.status.isAccompanied.isSet { pause = max(pause, Self.accompaniedPause) }
                delay = pause
                logger.debug(
                    "next try", metadata: ["milliseconds": .number(pause.waitMilliseconds)])
            }
            if orders.wait(for: delay, or: context.stop) { backoff.reset() }
        }
    }

    /// Starts a new back-off if the sensor was fed for long enough: what fails next is another failure.
    mutating func recordFeed(since begin: MonotonicTime) {
        if .now - begin >= SensorOrders.goodTime { backoff.reset() }
    }
}

extension Logger {
    /// A logger for lines about one sensor.
    func limited(to sensor: SensorName) -> Logger {
        var logger = self
        logger[metadataKey: "sensor"] = "\(sensor)"
        return LimitedLogHandler.limiting(logger)
    }
}

/// The addresses to which connection tracking leads flows that are translated.
///
/// A sensor that is named by a service's address has its feed at such an address, and pods see that
/// one. There are none also if connection tracking cannot be asked.
func backends(of flows: [FlowKey]) -> Set<IPAddress> {
    guard var table = try? Conntrack() else { return [] }
    var backends: Set<IPAddress> = []
    for key in flows {
        if let flow = try? table.flow(key), flow.isTranslated {
            backends.insert(flow.reply.source)
        }
    }
    return backends
}
