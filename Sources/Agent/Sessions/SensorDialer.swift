import Edges
import Settings
import Addressing
import Packets
import Glibc
import Linux
import Log
import Logging
import Netlink
import RPCAP
import Time

/// Dials one sensor for as long as the agent runs, and serves it while it is there.
///
/// Whatever a sensor does, there is a next try: an agent that had given up would look healthy and
/// be useless. The log gets one line for each change of state, and one every five minutes for tries
/// that fail like others before them.
struct SensorDialer {
    private let context: AgentContext
    private let sensor: SensorName
    private let status: PeerStatus
    private let logger: Logger
    private var backoff = Backoff()
    private var failure = FailureLogThrottle()

    private static let connectMillisecondsMax: CInt = 10_000
    /// A session of this length was a good one: the next failure starts a new back-off.
    private static let goodSessionNanoseconds: UInt64 = 10_000_000_000

    init(_ context: AgentContext, _ sensor: SensorName, logger: Logger) {
        self.context = context
        self.sensor = sensor
        status = context.status.sensor(sensor)
        var logger = logger
        logger[metadataKey: "sensor"] = "\(sensor)"
        self.logger = LimitedLogHandler.limiting(logger)
    }

    /// Returns when the agent stops.
    mutating func run() {
        nameThread("podwire-sensor")
        while !context.isStopping(milliseconds: 0) {
            serve()
            let wait = backoff.next().clampedNanoseconds / 1_000_000
            logger.debug("next try", metadata: ["milliseconds": .number(wait)])
            guard !context.isStopping(milliseconds: CInt(wait)) else { return }
        }
    }

    private mutating func serve() {
        guard let connection = connectOrSayWhy() else { return }
        let failureCount = failure.recordSuccess()
        if failureCount > 0 {
            logger.info("sensor reached after all", metadata: ["failures": .number(failureCount)])
        }
        let begin = monotonicNanoseconds()
        if let backend = Self.backend(of: connection) { context.feed.add([backend], of: sensor) }
        ControlSession.serve(context, connection, status, logger: logger)
        if monotonicNanoseconds() - begin >= Self.goodSessionNanoseconds { backoff.reset() }
    }

    /// Where the feed really goes, if the sensor was named by a service's address: pods see that one.
    /// Nil also where connection tracking cannot be asked.
    private static func backend(of connection: borrowing Connection) -> IPAddress? {
        let key = FlowKey(
            transport: IPProtocol.tcp, source: connection.local.address,
            destination: connection.peer.address, sourcePort: connection.local.port,
            destinationPort: connection.peer.port)
        guard var table = try? Conntrack(), let flow = try? table.flow(key), flow.isTranslated
        else { return nil }
        return flow.reply.source
    }

    private mutating func connectOrSayWhy() -> Connection? {
        do {
            return try connect()
        } catch {
            status.connectionFails("\(error)")
            if !context.isStopping(milliseconds: 0),
                let metadata = failure.recordFailure("\(error)", now: .now)
            {
                logger.warning("sensor not reached", metadata: metadata)
            }
            return nil
        }
    }

    /// Asks for the sensor's addresses anew and tries them in turn.
    private func connect() throws -> Connection {
        let addresses = try resolve(sensor.host, port: sensor.port)
        context.feed.add(addresses.map(\.address), of: sensor)
        var failure: (any Error)?
        for address in addresses {
            do throws(SystemError) {
                let connection = try Connection(
                    to: address, until: .now + .milliseconds(Self.connectMillisecondsMax),
                    cancel: context.stop)
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
