import Forwarding
import Linux
import Log
import Logging
import Metrics
import Settings
import Synchronization
import Time

/// The thread that has the dialers serve all sensors, or the one that this node feeds.
final class SensorChoice: Sendable {
    /// The sensors, the one that the node prefers first.
    let sensors: [SensorName]
    private let orders: [SensorOrders]
    private let policy: SensorPolicy
    private let node: String
    private let status: AgentStatus
    private let stop: StopSignal
    private let logger: Logger
    /// Whether no sensor is served, since another agent of the node serves them.
    private let isPaused = Mutex(false)

    /// The time between two looks at the sensors.
    ///
    /// A sensor that goes is missed for as long, and for the time that it takes to dial another one.
    private static let interval = Duration.seconds(1)

    /// Ranks the sensors of the settings.
    ///
    /// - Parameters:
    ///   - settings: The agent's settings.
    ///   - status: Where it is seen who is fed.
    ///   - stop: The agent's signal.
    ///   - logger: Gets a line for each change.
    /// - Throws: The kernel's reason if there is no descriptor left.
    init(
        _ settings: Settings, _ status: AgentStatus, stop: StopSignal, logger: Logger
    ) throws(SystemError) {
        policy = settings.sensors.count > 1 ? settings.sensorPolicy : .all
        node = settings.nodeName ?? hostName()
        sensors =
            policy == .one
            ? SensorRanking.ranking(settings.sensors, for: node) : settings.sensors
        let first: SensorElection.Order = policy == .one ? .rest : .serve
        orders = try sensors.map { _ throws(SystemError) in try SensorOrders(first) }
        (self.status, self.stop, self.logger) = (status, stop, logger)
    }

    /// The sensors with the orders for their dialers.
    var orderedSensors: [(sensor: SensorName, orders: SensorOrders)] {
        Array(zip(sensors, orders))
    }

    /// The sensors that are served at a time, when all is well.
    var servedCountMax: Int { policy == .one ? 1 : sensors.count }

    /// Whether there is a choice, and so a thread that makes it.
    var isNeeded: Bool { policy == .one }

    /// Leaves all sensors.
    func pause() {
        isPaused.withLock { isPaused in
            isPaused = true
            for (sensor, order) in orderedSensors {
                let peer = status.sensor(sensor)
                peer.isWanted.set(false)
                peer.rest("another agent of this node has taken over")
                order.give(.rest)
            }
        }
    }

    /// Has the sensors served again.
    func resume() {
        isPaused.withLock { isPaused in
            isPaused = false
            for (sensor, order) in orderedSensors {
                status.sensor(sensor).isWanted.set(true)
                if policy == .all { order.give(.serve) }
            }
        }
    }

    /// Chooses until the agent stops.
    func run() {
        nameThread("podwire-choice")
        let heartbeat = status.watchdog.begin("the choice of a sensor")
        var election = SensorElection(count: sensors.count, jitter: .random(in: 0...1))
        var stalls = sensors.map { _ in StallWatch() }
        var known: Int?
        logger.info(
            "sensors ranked",
            metadata: ["node": "\(node)", "preferred": "\(sensors[0])"])
        repeat {
            heartbeat.beat()
            let now = MonotonicTime.now
            let sights = sensors.indices.map { sight(of: $0, &stalls[$0], now) }
            let isDecided = isPaused.withLock { isPaused in
                guard !isPaused else { return false }
                let decision = election.decide(sights, now: now)
                carryOut(decision, election)
                return true
            }
            guard isDecided else {
                election = SensorElection(count: sensors.count, jitter: .random(in: 0...1))
                known = nil
                continue
            }
            report(election.fed, insteadOf: &known, sights)
        } while !stop.wait(for: Self.interval)
    }

    /// What is seen of a sensor.
    private func sight(
        of rank: Int, _ stall: inout StallWatch, _ now: MonotonicTime
    ) -> SensorElection.Sight {
        let peer = status.sensor(sensors[rank])
        var sight = SensorElection.Sight()
        sight.failureCount = peer.connectionsFailed.value
        sight.isPresent = orders[rank].isPresent
        let captures = peer.captures
        guard !captures.isEmpty else {
            stall = StallWatch()
            return sight
        }
        var counts = CaptureCounts()
        for capture in captures { counts += capture.counters.counts }
        sight.isStalled = stall.look(
            queuedCount: counts[.packetsQueued], sentCount: counts[.packetsSent], now: now)
        // A tunnel goes on though the network says that nobody listens.
        sight.isFed = !sight.isStalled && peer.isServed
        return sight
    }

    private func carryOut(_ decision: [SensorElection.Order], _ election: SensorElection) {
        for (rank, order) in decision.enumerated() {
            let peer = status.sensor(sensors[rank])
            peer.isWanted.set(election.isWanted(rank))
            if order != .serve {
                let end = order == .probe ? " until this one is back" : ""
                peer.rest(
                    election.fed.map { "this node feeds \(sensors[$0])\(end)" }
                        ?? "this node tries another one")
            }
            orders[rank].give(order)
        }
    }

    private func report(
        _ fed: Int?, insteadOf known: inout Int?, _ sights: [SensorElection.Sight]
    ) {
        guard fed != known else { return }
        defer { known = fed }
        guard let fed else {
            let isStalled = known.map { sights[$0].isStalled } ?? false
            return logger.warning(
                "no sensor is fed; the next one is tried",
                metadata: known.map { lost in
                    [
                        "lost": "\(sensors[lost])",
                        "reason": isStalled ? "it takes nothing" : "its capture is over",
                    ]
                } ?? [:])
        }
        status.sensorChanges.add()
        logger.info(
            fed == 0
                ? "this node feeds the sensor that it prefers"
                : "this node feeds a sensor until the one that it prefers is back",
            metadata: ["sensor": "\(sensors[fed])", "rank": .number(fed + 1)])
    }
}
