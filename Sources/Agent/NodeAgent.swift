import Addressing
import Edges
import Glibc
package import Linux
import Log
package import Logging
import Metrics
import Netlink
import Observation
package import Settings
import Synchronization
import Time

/// The agent of one node: it finds the pods' edges, and serves each sensor with a session of its own.
package final class NodeAgent: Sendable {
    private let context: AgentContext
    private let watch: TransferBox<NodeMonitor>
    private let end: Event
    private let logger: Logger
    /// Whether the log knows that the pod networks are not those of the pods.
    private let hasWarned = Mutex(false)

    /// Looks at the node; takes some milliseconds and opens no connection.
    package init(_ settings: Settings, logger: Logger) throws {
        guard Capability.netRaw.isHeld else {
            throw MissingCapability(.netRaw)
        }
        try settings.capture.placement.check()
        Descriptor.raiseCountMax()
        let status = AgentStatus(settings)
        let watch = try NodeMonitor(
            settings.edges, namesIn: settings.nameFolder, logger: logger, status: status.node)
        let node = watch.node
        self.watch = TransferBox(watch)
        end = try Event()
        self.logger = logger
        let tracking = Tracking(isNeeded: settings.tracksConnections)
        context = try AgentContext(
            settings, NodePublisher(RuleSettings(settings), node: node), status,
            tracksConnections: tracking == .available, logger: logger)
        describe(node, settings)
        compare(node)
        describe(tracking)
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

    /// Says once that the pod networks are others'; and again when they have fitted in the meantime.
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

    private func describe(_ tracking: Tracking) {
        guard case .unavailable(let reason) = tracking else { return }
        logger.warning(
            """
            connection tracking cannot be asked, so \(Tracking.loss) (\(Tracking.advice(reason)))
            """, metadata: ["reason": "\(reason)"])
    }

    /// Queues are flushed for a second; a name server that does not answer is not waited for.
    private static let endMillisecondsMax: CInt = 1500

    /// Serves sensors and clients until `stop`, and then until the queues are flushed or a second is
    /// over. Fails at once if it cannot listen for clients.
    package func run() throws(SystemError) {
        let (context, logger, ended) = (context, logger, end.fileDescriptor)
        let (sensors, passive) = (context.settings.sensors, context.settings.passive)
        let runningCount = Countdown(sensors.count + (passive == nil ? 0 : 1))
        if let passive {
            let listener = TransferBox(try ClientListener(context, passive, logger: logger))
            try Thread {
                if var listener = listener.take() { listener.run() }
                if runningCount.isLast() { Event.raise(ended) }
            }.detach()
        }
        try Thread { [self] in follow() }.detach()
        if let http = context.settings.http {
            try StatusServer(context, http, logger: logger).start()
        }
        for sensor in sensors {
            try Thread {
                var dialer = SensorDialer(context, sensor, logger: logger)
                dialer.run()
                if runningCount.isLast() { Event.raise(ended) }
            }.detach()
        }
        try summarize()
        context.status.isStopping.set(true)
        _ = try poll([(ended, .readable)], milliseconds: Self.endMillisecondsMax)
    }

    /// Says now and then what has been done, until the agent is to stop.
    private func summarize() throws(SystemError) {
        var summary = Summary(state, now: monotonicNanoseconds())
        while true {
            let now = monotonicNanoseconds()
            let rest = summary.dueAt - min(now, summary.dueAt)
            let ready = try poll(
                [(context.stop.fileDescriptor, .readable)], milliseconds: CInt(rest / 1_000_000 + 1)
            )
            guard ready[0].isEmpty else { return }
            if let metadata = summary.next(state, now: monotonicNanoseconds()) {
                logger.info("summary", metadata: metadata)
            }
        }
    }

    private var state: Summary.State {
        let node = context.feed.node
        var state = Summary.State()
        state.edgeCount = node.capturedVeths.count
        state.blindEdgeCount = node.edgeCountWithoutAddresses
        context.status.add(to: &state)
        return state
    }

    /// Follows the node's network for as long as the agent runs. If that fails, everything is begun
    /// anew, since an agent that does not see new pods looks healthy and is useless.
    private func follow() {
        nameThread("podwire-netlink")
        let status = context.status
        let pulse = status.pulses.begin("the netlink thread")
        var next = watch.take()
        var failure = FailureLogThrottle()
        var begin: UInt64 = 0
        while true {
            pulse.beat()
            do throws(SystemError) {
                var watch: NodeMonitor
                if let first = next.take() {
                    watch = first
                } else {
                    watch = try NodeMonitor(
                        context.settings.edges, namesIn: context.settings.nameFolder,
                        logger: logger, status: status.node)
                    publish(watch.node)
                }
                begin = monotonicNanoseconds()
                return try watch.run(until: context.stop.fileDescriptor, onWake: { pulse.beat() }) {
                    publish($0)
                }
            } catch {
                status.node.failures.add()
                status.node.isSynced.set(false)
                let now = monotonicNanoseconds()
                // What fails at once every time has never been over.
                if now >= begin + Self.followedNanoseconds { _ = failure.recordSuccess() }
                if let metadata = failure.recordFailure(
                    "\(error)", now: MonotonicTime(nanoseconds: now))
                {
                    logger.error("the node's network cannot be followed", metadata: metadata)
                }
            }
            let ready = try? poll(
                [(context.stop.fileDescriptor, .readable)], milliseconds: Self.followMilliseconds)
            guard let ready, ready[0].isEmpty else { return }
        }
    }

    private func publish(_ node: Node) {
        context.feed.publish(node)
        compare(node)
        context.status.keep(Set(node.veths.map(\.incarnation)))
    }

    /// How long to wait after a failure.
    private static let followMilliseconds: CInt = 1000
    /// A network that could be followed for so long fails anew.
    private static let followedNanoseconds: UInt64 = 60_000_000_000

    /// Has `run` return; can be called from any thread.
    package func stop() {
        context.stop.raise()
    }
}

/// Counts those who are still at work.
private final class Countdown: Sendable {
    private let count: Atomic<Int>

    init(_ count: Int) { self.count = Atomic(count) }

    /// Whether the caller, who has finished, was the last one.
    func isLast() -> Bool { count.subtract(1, ordering: .acquiringAndReleasing).newValue == 0 }
}
