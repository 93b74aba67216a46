package import Settings
import Metrics
package import Linux
package import Logging

import Addressing
import Glibc
import Log
import Netlink

/// Follows the node's network by the kernel's events, and publishes what has become of it.
///
/// Addresses inside a pod change without a word in the node's namespace. So a pod is asked about at
/// each event of its edge, again when its network has had time to be set up, and now and then.
package struct NodeMonitor: ~Copyable {
    private var monitor: NetlinkMonitor
    private let asker: NodeQueryThread
    private var namer: PodNameResolver?
    private var table: EdgeTable
    private let selection: EdgeSelection
    private let logger: Logger
    /// Edges to ask about again, the one due first in front.
    private var agenda: [(due: UInt64, index: UInt32)] = []
    private var pollAt: UInt64 = 0
    /// Before this, changes inside pods can wait.
    private var podsAt: UInt64 = 0
    /// Whether all interfaces are to be looked at anew.
    private var needsLook = false
    private var lookFailure = FailureLogThrottle()
    private var loss = FailureLogThrottle()
    private var published: Node
    /// The incarnations of edges that the log knows, and of those that it will know as soon as their pods'
    /// addresses are.
    private var announced: Set<UInt64>
    private var unannounced: [UInt64: UInt64] = [:]
    /// Those that the log knows without their pods' names.
    private var unnamed: Set<UInt64> = []
    private let status: NodeStatus

    /// When a pod is asked about again after an event of its edge.
    private static let delaysNanoseconds: [UInt64] = [200_000_000, 1_000_000_000]
    private static let lookMilliseconds: CInt = 50
    /// How often all interfaces are looked at, and all pods asked about.
    private static let pollNanoseconds: UInt64 = 30_000_000_000
    /// How soon changes inside pods are attended to again. A pod that may change its own addresses can do so
    /// without end, and the node is not to pay for it.
    private static let podsNanoseconds: UInt64 = 10_000_000
    /// A storm of events must not make the agenda grow: beyond this the slow poll has to do.
    private static let agendaCountMax = 10_000
    /// All pods of a node may come at once, and what they replace may go.
    private static let lineCountMax = 1000

    /// Subscribes, and then looks at what there is. Pods get their names from a folder of libcni's cache,
    /// a moment later.
    package init(
        _ selection: EdgeSelection, namesIn folder: String? = nil, logger: Logger,
        status: NodeStatus = NodeStatus(),
        bufferByteCount: Int = NetlinkMonitor.bufferByteCount
    ) throws(SystemError) {
        let monitor = try NetlinkMonitor(bufferByteCount: bufferByteCount)
        var reader = try NodeSource()
        var table = EdgeTable()
        try reader.readAll(into: &table)
        let asker = try NodeQueryThread(status.pulses)
        let node = table.node(selection)
        let logger = LimitedLogHandler.limiting(logger, lineCountMax: Self.lineCountMax)
        let namer: PodNameResolver? =
            if let folder { try PodNameResolver(folder: folder, node, logger: logger) } else { nil }
        published = node
        announced = Set(node.edges.map(\.incarnation))
        self.monitor = monitor
        self.asker = asker
        self.namer = namer
        self.table = table
        self.selection = selection
        self.logger = logger
        self.status = status
        status.isInStep.set(true)
        pollAt = monotonicNanoseconds() + Self.pollNanoseconds
    }

    /// The node as it was when it was looked at last.
    package var node: Node { published }

    deinit { asker.end() }

    /// Waits for changes and has them published, until an event is raised. Says so each time that it
    /// wakes, which it does every few seconds.
    package mutating func run(
        until stop: CInt, wakes: () -> Void = {}, publish: (Node) -> Void
    ) throws(SystemError) {
        namer?.follow(published)
        while true {
            wakes()
            let ready = try poll(
                [
                    (monitor.fileDescriptor, .readable), (stop, .readable),
                    (asker.number, .readable),
                    (isAttendingToPods ? monitor.podsFileDescriptor : -1, .readable),
                    (namer?.number ?? -1, .readable),
                ], milliseconds: millisecondsToWait)
            if !ready[1].isEmpty { return }
            if !ready[3].isEmpty {
                podsAt = monotonicNanoseconds() + Self.podsNanoseconds
                table.isChanged(inside: try monitor.takeChangedNamespaces())
                asker.ask(table.takeUnasked().map { .pod(behind: $0) })
            }
            if !ready[0].isEmpty { try takeEvents() }
            if needsLook { look() }
            if !ready[2].isEmpty { for answer in asker.takeAnswers() { table.apply(answer) } }
            if !ready[4].isEmpty {
                table.set(namer?.takeNames(for: table.node(selection)) ?? [:])
            }
            askAgain()
            let node = table.node(selection)
            namer?.follow(node)
            announce(node)
            guard node != published else { continue }
            published = node
            publish(node)
        }
    }

    private var isAttendingToPods: Bool { monotonicNanoseconds() >= podsAt }

    private var millisecondsToWait: CInt {
        mutating get {
            if needsLook { return Self.lookMilliseconds }
            var due = min(pollAt, agenda.first?.due ?? .max, namer?.dueAt ?? .max)
            let now = monotonicNanoseconds()
            if now < podsAt { due = min(due, podsAt) }
            guard due > now else { return 0 }
            return min(Watchdog.waitMilliseconds, CInt(clamping: (due - now) / 1_000_000 + 1))
        }
    }

    private mutating func takeEvents() throws(SystemError) {
        var isAddressChanged = false
        let isComplete = try monitor.read { event in
            table.apply(event)
            if event == .address || event == .route { isAddressChanged = true }
        }
        if !isComplete {
            status.resyncs.add()
            status.isInStep.set(false)
            let reason = "events of the node's network were lost"
            if let metadata = loss.recordFailure(reason, now: .now) {
                logger.notice("everything is read anew", metadata: metadata)
            }
            needsLook = true
        }
        let unasked = table.takeUnasked()
        asker.ask((isAddressChanged ? [.own] : []) + unasked.map { .pod(behind: $0) })
        let now = monotonicNanoseconds()
        for delay in Self.delaysNanoseconds {
            guard agenda.count + unasked.count <= Self.agendaCountMax else { break }
            agenda += unasked.map { (due: now + delay, index: $0) }
        }
        agenda.sort { $0.due < $1.due }
    }

    /// Looks at all interfaces anew. Where they change faster than they can be listed, once more in a
    /// moment.
    private mutating func look() {
        do throws(SystemError) {
            var reader = try NodeSource()
            table.reset(links: try reader.links())
            needsLook = false
            _ = lookFailure.recordSuccess()
            status.isInStep.set(true)
            asker.ask([.own] + table.takeUnasked().map { .pod(behind: $0) })
        } catch {
            if let metadata = lookFailure.recordFailure("\(error)", now: .now) {
                logger.warning("the node cannot be read", metadata: metadata)
            }
        }
    }

    private mutating func askAgain() {
        let now = monotonicNanoseconds()
        let due = Set(agenda.prefix { $0.due <= now }.map(\.index))
        agenda.removeAll { $0.due <= now }
        asker.ask(due.sorted().map { .pod(behind: $0) })
        if now >= pollAt {
            pollAt = now + Self.pollNanoseconds
            needsLook = true
            asker.ask([.own] + table.askable.map { .pod(behind: $0) })
        }
    }

    /// One line for each edge that comes, when its pod's addresses and name are known or have had the
    /// time to be, and one when it goes. A name that comes later has a line of its own.
    private mutating func announce(_ node: Node) {
        let now = monotonicNanoseconds()
        let incarnations = Set(node.edges.map(\.incarnation))
        for edge in published.edges where !incarnations.contains(edge.incarnation) {
            let standing = node.candidates.first { $0.incarnation == edge.incarnation }?.standing
            let isThere = standing != nil && standing != .peerIsGone
            if unannounced.removeValue(forKey: edge.incarnation) != nil {
                // It has turned out to be none before anybody was told.
                if isThere { continue }
                logger.info("edge captured", metadata: Self.metadata(edge))
            }
            announced.remove(edge.incarnation)
            logger.info(
                isThere ? "edge no longer captured" : "edge gone", metadata: Self.metadata(edge))
        }
        unnamed.formIntersection(incarnations)
        for edge in node.edges where edge.pod != nil && unnamed.contains(edge.incarnation) {
            unnamed.remove(edge.incarnation)
            logger.info("edge has a name", metadata: Self.metadata(edge))
        }
        for edge in node.edges where !announced.contains(edge.incarnation) {
            let since = unannounced[edge.incarnation, default: now]
            unannounced[edge.incarnation] = since
            let hasAddresses = edge.podAddresses?.contains { !$0.isLinkLocalIPv6 } ?? false
            let isKnown = hasAddresses && (edge.pod != nil || namer?.isAvailable != true)
            guard isKnown || now >= since + Self.delaysNanoseconds.reduce(0, max) else { continue }
            unannounced[edge.incarnation] = nil
            announced.insert(edge.incarnation)
            if edge.pod == nil { unnamed.insert(edge.incarnation) }
            logger.info("edge captured", metadata: Self.metadata(edge))
        }
    }

    private static func metadata(_ edge: Veth) -> Logger.Metadata {
        let addresses = (edge.podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }
        var metadata: Logger.Metadata = [
            "edge": "\(edge.link.name)", "index": .number(edge.link.index),
            "addresses": "\(addresses.map(\.description).joined(separator: ","))",
        ]
        if let pod = edge.pod { metadata["pod"] = "\(pod)" }
        return metadata
    }
}
