import Addressing
import Edges
import Glibc
import Linux
import Log
import Logging
import Metrics
import Netlink
import Packets
import RPCAP
import Settings
import Time

/// The loop that dials one sensor for as long as the agent runs, and serves it while it is connected.
///
/// The dialer never gives up: an agent that had would look healthy and be useless. The log has a line
/// for each change of state, and one every five minutes for tries and sessions that fail like earlier
/// ones.
struct SensorDialer: SensorFeeder {
    let context: SessionContext
    private let sensor: SensorName
    let orders: SensorOrders
    private let status: PeerStatus
    let logger: Logger
    var backoff = Backoff()
    private var lines = PeerLogThrottle()

    private static let connectTimeout = Duration.seconds(10)

    init(
        _ context: SessionContext, _ sensor: SensorName, _ orders: SensorOrders, logger: Logger
    ) {
        self.context = context
        self.sensor = sensor
        self.orders = orders
        status = context.status.sensor(sensor)
        self.logger = logger.limited(to: sensor)
    }

    /// Dials and serves until the agent stops, whenever the sensor is to be served.
    mutating func run() {
        nameThread("podwire-sensor")
        followOrders()
    }

    /// Looks whether the sensor accepts connections.
    func probe() {
        do {
            _ = try dial()
            orders.recordProbe(isPresent: true)
        } catch {
            orders.recordProbe(isPresent: false)
            logger.debug("sensor is not there", metadata: ["reason": "\(error)"])
        }
    }

    mutating func serve() {
        guard let connection = connect(), orders.order == .serve else { return }
        let begin = MonotonicTime.now
        let news = lines.recordConnection()
        logger.log(
            level: news == nil ? .debug : .info, "sensor connected",
            metadata: [
                "local": "\(connection.local)", "peer": "\(connection.peer)",
            ].merging(news ?? [:]) { $1 })
        let flow = FlowKey(
            transport: IPProtocol.tcp, source: connection.local.address,
            destination: connection.peer.address, sourcePort: connection.local.port,
            destinationPort: connection.peer.port)
        let backends = backends(of: [flow])
        if !backends.isEmpty { context.feed.add(Array(backends), of: sensor) }
        let end = ControlSession.serve(
            context, connection, status, revocation: orders.revocationDescriptor,
            past: SessionPast(lines), logger: logger)
        end.log(as: "sensor session ended", in: &lines, since: begin, logger)
        recordFeed(since: begin)
    }

    /// Connects to the sensor, or logs why it cannot.
    private mutating func connect() -> Connection? {
        do {
            return try dial()
        } catch {
            status.recordConnectFailure("\(error)")
            if context.stop.isGiven { return nil }
            let news = lines.recordUnreached("\(error)", now: .now)
            logger.log(
                level: news == nil ? .debug : .warning, "sensor not reached",
                metadata: (news ?? ["reason": "\(error)"])
                    .merging(SessionRemedy.metadata(for: error)) { $1 })
            return nil
        }
    }

    /// Resolves the sensor's name again, and tries its addresses in turn.
    private func dial() throws -> Connection {
        status.isSought.set(true)
        defer { status.isSought.set(false) }
        let addresses = try resolve(sensor.host, port: sensor.port)
        status.isSought.set(false)
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
