import Addressing
import Edges
import Glibc
import Linux
import Log
import Logging
import Netlink
import Packets
import RPCAP
import Settings
import Time

/// The loop that dials one sensor for as long as the agent runs, and serves it while it is connected.
///
/// The dialer never gives up: an agent that had would look healthy and be useless. The log has a line
/// for each change of state, and one every five minutes for tries that fail like earlier ones.
struct SensorDialer {
    private let context: SessionContext
    private let sensor: SensorName
    private let orders: SensorOrders
    private let status: PeerStatus
    private let logger: Logger
    private var backoff = Backoff()
    private var failure = FailureLogThrottle()

    private static let connectTimeout = Duration.seconds(10)
    /// After a session of this length the next failure starts a new back-off.
    private static let goodSession = Duration.seconds(10)
    /// The time between two looks whether a sensor has come back.
    private static let probeInterval = Duration.seconds(10)

    init(
        _ context: SessionContext, _ sensor: SensorName, _ orders: SensorOrders, logger: Logger
    ) {
        self.context = context
        self.sensor = sensor
        self.orders = orders
        status = context.status.sensor(sensor)
        var logger = logger
        logger[metadataKey: "sensor"] = "\(sensor)"
        self.logger = LimitedLogHandler.limiting(logger)
    }

    /// Dials and serves until the agent stops, whenever the sensor is to be served.
    mutating func run() {
        nameThread("podwire-sensor")
        while !context.stop.isGiven {
            var delay: Duration?
            switch orders.order {
            case .rest: break
            case .probe:
                probe()
                delay = Self.probeInterval
            case .serve:
                serve()
                delay = backoff.next()
                logger.debug(
                    "next try", metadata: ["milliseconds": .number(delay?.waitMilliseconds ?? 0)])
            }
            if orders.wait(for: delay, or: context.stop) { backoff.reset() }
        }
    }

    /// Looks whether the sensor accepts connections.
    private func probe() {
        do {
            _ = try dial()
            orders.recordProbe(isPresent: true)
        } catch {
            orders.recordProbe(isPresent: false)
            logger.debug("sensor is not there", metadata: ["reason": "\(error)"])
        }
    }

    private mutating func serve() {
        guard let connection = connect(), orders.order == .serve else { return }
        var metadata: Logger.Metadata = [
            "local": "\(connection.local)", "peer": "\(connection.peer)",
        ]
        let failureCount = failure.recordSuccess()
        if failureCount > 0 { metadata["failures"] = .number(failureCount) }
        logger.info("sensor connected", metadata: metadata)
        let begin = MonotonicTime.now
        if let backend = Self.backend(of: connection) { context.feed.add([backend], of: sensor) }
        ControlSession.serve(
            context, connection, status, revocation: orders.revocationDescriptor, logger: logger)
        if .now - begin >= Self.goodSession { backoff.reset() }
    }

    /// The address that the feed really goes to, if the sensor is named by a service's address.
    ///
    /// Pods see this one. Nil also if connection tracking cannot be asked.
    private static func backend(of connection: borrowing Connection) -> IPAddress? {
        let key = FlowKey(
            transport: IPProtocol.tcp, source: connection.local.address,
            destination: connection.peer.address, sourcePort: connection.local.port,
            destinationPort: connection.peer.port)
        guard var table = try? Conntrack(), let flow = try? table.flow(key), flow.isTranslated
        else { return nil }
        return flow.reply.source
    }

    /// Connects to the sensor, or logs why it cannot.
    private mutating func connect() -> Connection? {
        do {
            return try dial()
        } catch {
            status.recordConnectFailure("\(error)")
            if !context.stop.isGiven,
                let metadata = failure.recordFailure("\(error)", now: .now)
            {
                logger.warning("sensor not reached", metadata: metadata)
            }
            return nil
        }
    }

    /// Resolves the sensor's name again, and tries its addresses in turn.
    private func dial() throws -> Connection {
        let addresses = try resolve(sensor.host, port: sensor.port)
        context.feed.add(addresses.map(\.address), of: sensor)
        var failure: SystemError?
        for address in addresses {
            do throws(SystemError) {
                let connection = try Connection(
                    to: address, until: .now + Self.connectTimeout, cancel: context.stop.event)
                try connection.watchPeer()
                try connection.sendAtOnce()
                return connection
            } catch {
                failure = SystemError("connect to \(address)", error.errno)
            }
        }
        throw failure ?? SystemError("connect", .hostUnreachable)
    }
}
