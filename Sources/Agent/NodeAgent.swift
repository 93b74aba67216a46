import Addressing
import Edges
import Glibc
import HTTPEndpoint
package import Linux
import Log
package import Logging
import Metrics
import Netlink
import Observation
package import Settings
import Synchronization
import Time

/// The agent of one node: it finds the pods' edges, and serves each peer with a session of its own.
package final class NodeAgent: Sendable {
    private let context: SessionContext
    private let watch: TransferBox<NodeMonitor>
    /// Has a message for each sensor and for the clients when they are served no more.
    private let finished: Mailbox<Void>
    private let logger: Logger
    /// How this agent takes over from another one, and hands over; nil if it does not.
    private let handover = Mutex<Handover?>(nil)
    /// Raised to have the summary logged now.
    private let summaryWish: Event
    /// Whether the log has the warning that pods lie outside the pod networks.
    private let hasWarned = Mutex(false)

    /// Reads the node's network, which takes some milliseconds.
    ///
    /// Opens no connection.
    ///
    /// - Throws: What is missing, or wrong with the settings' files.
    package init(_ settings: Settings, logger: Logger) throws {
        guard Capability.netRaw.isHeld else {
            throw MissingCapability(.netRaw)
        }
        try settings.capture.placement.check()
        Descriptor.raiseCountMax()
        let status = AgentStatus(settings)
        let watch = try NodeMonitor(
            settings.edges, namesIn: settings.nameFolder, taps: settings.taps, logger: logger,
            status: status.node)
        let node = watch.node
        self.watch = TransferBox(watch)
        summaryWish = try Event()
        finished = try Mailbox(countMax: settings.sensors.count + 1)
        self.logger = logger
        let tracking = Tracking(isNeeded: settings.tracksConnections)
        context = try SessionContext(
            settings, NodePublisher(RuleSettings(settings), node: node), status,
            tracksConnections: tracking == .available, logger: logger)
        describe(node, settings)
        compare(node)
        describe(tracking, settings)
    }

    private func describe(_ node: Node, _ settings: Settings) {
        var metadata = settings.metadata
        metadata["version"] = "\(Version.number)"
        metadata["edge_count"] = .number(node.capturedVeths.count)
        logger.info("agent started", metadata: metadata)
        if let failure = node.addressFailure {
            let missing = MissingCapability(.netAdmin)
            logger.warning(
                "pods' addresses are not known, flooded frames may be reported twice: \(missing)",
                metadata: ["reason": "\(failure)"])
        }
        if settings.capture.restoresWireForm, let release = KernelRelease.current,
            release < .datagramSegmentation
        {
            logger.notice(
                """
                this kernel may not be able to say how datagrams are to be cut: \
                \(KernelRelease.datagramLoss); Linux \(KernelRelease.datagramSegmentation) can, and \
                \(Setting.frames.option) raw has them as they are
                """, metadata: ["release": "\(release)"])
        }
        if node.veths.isEmpty {
            logger.notice("no pod has an edge on this node yet")
        } else if node.capturedVeths.isEmpty, PodNetworkMismatch(node, settings.podNetworks) == nil
        {
            logger.notice("none of this node's veths is captured; `podwire edges` says why of each")
        }
        for concern in settings.podNetworkConcerns { logger.warning("\(concern.line)") }
        for own in node.exposedAddresses(RuleSettings(settings)) {
            logger.warning(
                """
                the node's own address lies in a pod network: name what no agent covers there \
                with \(Setting.uncovered.option)
                """, metadata: ["address": "\(own)"])
        }
    }

    /// Warns once that pods lie outside the pod networks, and again if they have fitted in between.
    private func compare(_ node: Node) {
        let networks = context.settings.podNetworks
        let mismatch = PodNetworkMismatch(node, networks)
        let isNews = hasWarned.withLock { hasWarned in
            // Pods that have gone, or are not known yet, are no reason to begin anew.
            if mismatch == nil, node.addressedPods.isEmpty { return false }
            defer { hasWarned = mismatch != nil }
            return !hasWarned
        }
        guard isNews, let mismatch else { return }
        logger.warning("\(mismatch.description); \(mismatch.effect): \(PodNetworkMismatch.remedy)")
    }

    private func describe(_ tracking: Tracking, _ settings: Settings) {
        guard case .unavailable(let reason) = tracking else { return }
        let isOfServices = !settings.serviceNetworks.isEmpty
        // Without service networks most clusters miss nothing.
        logger.log(
            level: isOfServices ? .warning : .info,
            """
            connection tracking cannot be asked, so \(isOfServices ? Tracking.loss : Tracking.frontLoss) \
            (\(Tracking.advice(reason)))
            """, metadata: ["reason": "\(reason)"])
    }

    /// The time to end.
    ///
    /// Queues are flushed for a second; a name server is not waited for.
    private static let endTime = Duration.milliseconds(1500)
    /// How often it is looked whether only name servers are still waited for.
    private static let endLookInterval = Duration.milliseconds(50)

    /// Serves sensors and clients until `stop`, and then until the queues are flushed or a second is
    /// over.
    ///
    /// - Throws: At once, if the agent cannot listen for clients.
    package func run() throws(SystemError) {
        let (context, logger, finished) = (context, logger, finished)
        let passive = context.settings.passive
        let choice = try SensorChoice(
            context.settings, context.status, stop: context.stop, logger: logger)
        if let passive {
            let listener = TransferBox(try ClientListener(context, passive, logger: logger))
            try Thread {
                if var listener = listener.take() { listener.run() }
                finished.send(())
            }.detach()
        }
        try Thread { [self] in follow() }.detach()
        if context.settings.capture.selection.filterFile != nil {
            try Thread {
                nameThread("podwire-filter")
                let heartbeat = context.status.watchdog.begin("the filter's thread")
                context.filter.run(until: context.stop, heartbeat: heartbeat)
            }.detach()
        }
        try serveOrTakeOver(choice)
        for (sensor, orders) in choice.orderedSensors {
            try Thread {
                if let target = sensor.tunnel {
                    var tunnel = TunnelSensor(context, sensor, target, orders, logger: logger)
                    tunnel.run()
                } else {
                    var dialer = SensorDialer(context, sensor, orders, logger: logger)
                    dialer.run()
                }
                finished.send(())
            }.detach()
        }
        if choice.isNeeded { try Thread { choice.run() }.detach() }
        summarize()
        context.status.isStopping.set(true)
        awaitEnd(of: choice.sensors.count + (passive == nil ? 0 : 1))
    }

    /// Waits until all that serve peers have ended, but for those that wait for a name server.
    private func awaitEnd(of count: Int) {
        let deadline = MonotonicTime.now + Self.endTime
        var endedCount = 0
        while endedCount + context.status.sensors.count(where: \.isSought.isSet) < count,
            .now < deadline
        {
            endedCount +=
                finished.take(
                    atLeast: 1, waitingUntil: min(deadline, .now + Self.endLookInterval)
                ).count
        }
    }

    /// Serves metrics and probes: at once, or when the agent has taken over from another one.
    private func serveOrTakeOver(_ choice: SensorChoice) throws(SystemError) {
        let gate = HTTPGate()
        let server =
            context.settings.http.isEmpty
            ? nil
            : StatusServer(
                context.settings.http, StatusPages(context.status, context.feed, context.settings),
                gate: gate, handsOver: context.settings.handover != nil, logger: logger)
        guard let name = context.settings.handover else {
            if let server { try server.start() }
            return
        }
        let isServing = Mutex(false)
        let role = Handover.Role(
            servedCount: { [status = context.status] in status.sensors.count(where: \.isServed) },
            servedCountMax: choice.servedCountMax,
            settle: { [logger] in
                let isFirst = isServing.withLock { isServing in
                    defer { isServing = true }
                    return !isServing
                }
                guard isFirst, let server else { return }
                do throws(SystemError) {
                    try server.start()
                } catch {
                    logger.error(
                        "cannot serve metrics and probes", metadata: ["reason": "\(error)"])
                }
            },
            accompany: { [status = context.status] in status.isAccompanied.set($0) },
            takeOver: { [status = context.status] in status.handovers.add() },
            goOn: { [status = context.status] in status.handoversUndone.add() },
            cede: { [context] in
                context.status.isCeded.set(true)
                choice.pause()
                gate.close()
            },
            resume: { [context] in
                context.status.isCeded.set(false)
                choice.resume()
                gate.open()
            },
            revisionHash: context.settings.revision.map { StableHash.of($0) } ?? 0,
            standIn: { [status = context.status] hash in
                status.olderRevisionHash.withLock { $0 = hash }
            })
        let handover = try Handover(
            name, context.span, role, context.status.watchdog, stop: context.stop, logger: logger)
        try handover.start()
        self.handover.withLock { $0 = handover }
    }

    /// Logs the summary when it is due, until the agent is to stop.
    private func summarize() {
        var summary = Summary(state, now: .now)
        while true {
            let ready = try? poll(
                [
                    (context.stop.fileDescriptor, .readable),
                    (summaryWish.fileDescriptor, .readable),
                ], until: summary.deadline)
            guard let ready, ready[0].isEmpty else { return }
            let isAsked = !ready[1].isEmpty
            if isAsked { summaryWish.lower() }
            if let metadata = summary.next(state, isAsked: isAsked, now: .now) {
                // A line that was asked for is seen at any level of the log.
                var logger = logger
                if isAsked { logger.logLevel = min(logger.logLevel, .info) }
                logger.info("summary", metadata: metadata)
            }
        }
    }

    /// Has the summary logged now; from any thread.
    package func askForSummary() { summaryWish.raise() }

    private var state: Summary.State {
        let node = context.feed.node
        var state = Summary.State()
        state.edgeCount = node.capturedVeths.count
        state.edgeCountWithoutAddresses = node.edgeCountWithoutAddresses
        context.status.describe(in: &state)
        return state
    }

    /// Follows the node's network for as long as the agent runs.
    ///
    /// After a failure it starts over: an agent that does not see new pods looks healthy and is useless.
    private func follow() {
        nameThread("podwire-netlink")
        let status = context.status
        let heartbeat = status.watchdog.begin("the netlink thread")
        var next = watch.take()
        var failure = FailureLogThrottle()
        var begin = MonotonicTime.zero
        repeat {
            heartbeat.beat()
            do throws(SystemError) {
                var watch: NodeMonitor
                if let first = next.take() {
                    watch = first
                } else {
                    watch = try NodeMonitor(
                        context.settings.edges, namesIn: context.settings.nameFolder,
                        taps: context.settings.taps, logger: logger, status: status.node)
                    publish(watch.node)
                }
                begin = .now
                return try watch.run(
                    until: context.stop.fileDescriptor, sightings: context.feed.sightings,
                    onWake: { heartbeat.beat() },
                    publish: { publish($0) })
            } catch {
                status.node.failures.add()
                status.node.isSynced.set(false)
                let now = MonotonicTime.now
                // A failure that comes at once every time has never been over.
                if now - begin >= Self.goodFollowing { _ = failure.recordSuccess() }
                if let metadata = failure.recordFailure("\(error)", now: now) {
                    logger.error("the node's network cannot be followed", metadata: metadata)
                }
            }
        } while !context.stop.wait(for: Self.retryInterval)
    }

    private func publish(_ node: Node) {
        context.feed.publish(node)
        compare(node)
        context.status.keep(Set(node.veths.map(\.incarnation)))
    }

    /// The wait after a failure to follow the node's network.
    private static let retryInterval = Duration.seconds(1)
    /// After following for this long a failure is a new one.
    private static let goodFollowing = Duration.seconds(60)

    /// Reads again what can change while the agent runs: the file of a filter.
    ///
    /// Can be called from any thread.
    package func reload() { context.filter.reload() }

    /// Makes `run` return.
    ///
    /// Can be called from any thread.
    ///
    /// If another agent is about to take over, it does so first.
    package func stop() {
        if let handover = handover.withLock({ $0 }) {
            handover.requestStop()
        } else {
            context.stop.give()
        }
    }

    /// The longest time from `stop` to the end of `run`, in seconds.
    package var endSecondsMax: UInt32 { context.settings.handover == nil ? 2 : 9 }
}
