import Addressing
import Glibc
package import Linux
import Log
package import Logging
import Metrics
import Netlink
package import Settings
import Time

/// Follows the node's network by the kernel's events, and publishes the node when it changes.
package struct NodeMonitor: ~Copyable {
    private var events: NetlinkMonitor
    private var forwardingEvents: ForwardingEvents
    /// Raised when captures have seen something that the node does not know.
    private let sighted: Event
    private let queryThread: NodeQueryThread
    private let listingThread: BridgeListingThread
    private var nameResolver: PodNameResolver?
    /// Follows the files of pods' network namespaces; nil if all edges are captured at the host's ends.
    private let namespaces: NamespaceWatch?
    private var bypassWatch: BypassWatch
    private var table: EdgeTable
    private var schedule: RefreshSchedule
    private var podChanges = PodChangeBudget()
    private var podInterfaces = PodInterfaceSchedule()
    private var bridgeListing = BridgeListingSchedule()
    private var announcer: EdgeAnnouncer
    private let selection: EdgeSelection
    private let logger: Logger
    private let status: NodeStatus
    /// The node as it was published last.
    package private(set) var node: Node
    /// Whether all interfaces have to be listed again.
    private var needsListing = false
    private var listingFailure = FailureLogThrottle()
    private var loss = FailureLogThrottle()

    /// The delay before interfaces are listed again, where they change faster than they can be.
    private static let listingDelay = Duration.milliseconds(50)
    /// The most lines a minute: all pods of a node may come at once while their predecessors go.
    private static let lineCountMax = 1000

    /// A descriptor that the monitor waits for.
    private enum Source {
        case stop
        case events
        case podEvents
        case forwarding
        case bridgeListing
        case sightings
        case replies
        case names
        case namespaces
    }

    /// Subscribes to events, and then reads the node.
    ///
    /// - Parameters:
    ///   - selection: The veths to capture.
    ///   - folder: A folder of libcni's cache, from which pods get their names a moment later.
    ///   - taps: Where edges are captured.
    ///   - logger: The log of edges that come and go.
    ///   - status: The state of the monitor, for metrics and probes.
    ///   - bufferByteCount: The room for events that wait.
    /// - Throws: The kernel's reason for refusing the subscription or the listing.
    package init(
        _ selection: EdgeSelection, namesIn folder: String? = nil,
        taps: TapSettings = TapSettings(), logger: Logger, status: NodeStatus = NodeStatus(),
        bufferByteCount: Int = NetlinkMonitor.bufferByteCount
    ) throws(SystemError) {
        let events = try NetlinkMonitor(bufferByteCount: bufferByteCount)
        let forwardingEvents = try ForwardingEvents()
        let sighted = try Event()
        var source = try NodeSource()
        var plan = TapPlan(taps)
        plan.isBlind = status.isBypassed.isSet
        var table = EdgeTable(plan)
        let isWhole = try source.readAll(into: &table)
        let queryThread = try NodeQueryThread(status.watchdog)
        let listingThread = try BridgeListingThread(status.watchdog)
        let logger = LimitedLogHandler.limiting(logger, lineCountMax: Self.lineCountMax)
        let namespaces =
            plan.needsNamespaces
            ? try NamespaceWatch(
                taps.namespaceFolder, assignsIDs: taps.includesPodInterfaces, logger: logger) : nil
        _ = namespaces?.readIfDue(into: &table, now: .now)
        let node = table.node(selection)
        let nameResolver: PodNameResolver? =
            if let folder { try PodNameResolver(folder: folder, node, logger: logger) } else { nil }
        self.events = events
        self.forwardingEvents = forwardingEvents
        self.sighted = sighted
        self.queryThread = queryThread
        self.listingThread = listingThread
        self.nameResolver = nameResolver
        self.namespaces = namespaces
        self.table = table
        bypassWatch = BypassWatch(logger: logger, status: status)
        schedule = RefreshSchedule(now: .now)
        announcer = EdgeAnnouncer(node)
        self.selection = selection
        self.logger = logger
        self.status = status
        self.node = node
        status.isSynced.set(true)
        if !isWhole { bridgeListing.request() }
        bypassWatch.begin(plan)
        if plan.includesPodInterfaces { podInterfaces.request(now: .now) }
    }

    deinit {
        queryThread.stop()
        listingThread.stop()
    }

    /// Waits for changes and publishes them, until an event is raised.
    ///
    /// - Parameters:
    ///   - stop: The event's descriptor.
    ///   - sightings: What captures have seen that the node does not know.
    ///   - onWake: Is called each time the thread wakes, which it does at least every few seconds.
    ///   - publish: Is called with the node each time it has changed.
    /// - Throws: The kernel's reason for no longer delivering events.
    package mutating func run(
        until stop: CInt, sightings: Sightings = Sightings(), onWake: () -> Void = {},
        publish: (Node) -> Void
    ) throws(SystemError) {
        sightings.raise(sighted.fileDescriptor)
        defer { sightings.raise(-1) }
        nameResolver?.follow(node, now: .now)
        while true {
            onWake()
            // One time for both, so that pod events are waited for or have a deadline.
            let now = MonotonicTime.now
            let ready = try poll(sources(stop, now: now), until: wakeTime(now: now))
            if !ready[.stop].isEmpty { return }
            if !ready[.sightings].isEmpty { take(sightings, now: .now) }
            try handle(ready, now: .now)
            let node = table.node(selection)
            nameResolver?.follow(node, now: .now)
            announce(node)
            guard node != self.node else { continue }
            warn(of: node.takenMACs.subtracting(self.node.takenMACs), in: node)
            self.node = node
            publish(node)
        }
    }

    private mutating func sources(
        _ stop: CInt, now: MonotonicTime
    ) -> [Source: (fileDescriptor: CInt, interest: Readiness)] {
        // What pods can cause without end waits for its time.
        let isAllowed = schedule.allowsPodEvents(now: now)
        return [
            .stop: (stop, .readable), .events: (events.fileDescriptor, .readable),
            .podEvents: (isAllowed ? events.podsFileDescriptor : -1, .readable),
            .forwarding: (isAllowed ? forwardingEvents.fileDescriptor : -1, .readable),
            .sightings: (isAllowed ? sighted.fileDescriptor : -1, .readable),
            .bridgeListing: (listingThread.fileDescriptor, .readable),
            .replies: (queryThread.fileDescriptor, .readable),
            .names: (nameResolver?.fileDescriptor ?? -1, .readable),
            .namespaces: (namespaces?.fileDescriptor(now: now) ?? -1, .readable),
        ]
    }

    private mutating func wakeTime(now: MonotonicTime) -> MonotonicTime {
        if needsListing { return now + Self.listingDelay }
        let dueAt = min(
            schedule.dueAt(now: now), bridgeListing.dueAt,
            min(podChanges.dueAt, nameResolver?.dueAt ?? .distantFuture))
        let tapsDueAt = min(
            namespaces?.wakeTime(now: now) ?? .distantFuture,
            min(bypassWatch.dueAt, podInterfaces.dueAt))
        return min(dueAt, tapsDueAt, now + Watchdog.waitMax)
    }

    private mutating func handle(
        _ ready: ReadyDescriptors<Source>, now: MonotonicTime
    ) throws(SystemError) {
        if !ready[.podEvents].isEmpty {
            schedule.postponePodEvents(now: now)
            table.requestRefresh(inside: try events.takeChangedNamespaces())
            queryPods(table.takePendingRefreshes())
        }
        if !ready[.events].isEmpty { try takeEvents(now: now) }
        if !ready[.forwarding].isEmpty { try takeForwardingEvents(now: now) }
        if !ready[.bridgeListing].isEmpty { takeBridgeListing(now: now) }
        if bridgeListing.takeDue(now: now) {
            listingThread.send(table.bridgePorts, changeCount: table.forwardingChangeCount)
        }
        if needsListing { listLinks(now: now) }
        if !ready[.replies].isEmpty {
            for reply in queryThread.takeReplies() {
                if case .counters(let readings) = reply {
                    bypassWatch.look(at: readings, in: &table)
                }
                if case .countersFailed(let error) = reply {
                    bypassWatch.recordFailure(error, table.tapPlan)
                }
                if !podChanges.apply(reply, to: &table, now: now) {
                    status.podChangesPostponed.add()
                }
            }
        }
        podChanges.applyDue(to: &table, now: now)
        if !ready[.names].isEmpty {
            table.set(nameResolver?.takeNames(for: table.node(selection)) ?? [:])
        }
        let due = schedule.takeDue(now: now)
        queryPods(due)
        if !ready[.namespaces].isEmpty { namespaces?.request(now: now) }
        if !due.isEmpty, table.lacksNamespaces { namespaces?.requestForLack(now: now) }
        let hasRead = namespaces?.readIfDue(into: &table, now: now) ?? false
        listPodInterfaces(
            mayHaveChanged: hasRead || !due.isEmpty || !ready[.podEvents].isEmpty, now: now)
        if bypassWatch.takeDue(table.tapPlan, now: now) { queryThread.send([.counters]) }
        if schedule.takePoll(now: now) {
            needsListing = true
            queryThread.send([.own])
            queryPods(table.queryableIndexes)
        }
    }

    /// Has interfaces without a host end listed if that is due.
    private mutating func listPodInterfaces(mayHaveChanged: Bool, now: MonotonicTime) {
        guard table.tapPlan.includesPodInterfaces else { return }
        if mayHaveChanged { podInterfaces.request(now: now) }
        if podInterfaces.takeDue(now: now) {
            queryThread.send([.podInterfaces(table.podInterfaceFiles)])
        }
    }

    /// Takes over what bridges have learned and forgotten.
    private mutating func takeForwardingEvents(now: MonotonicTime) throws(SystemError) {
        schedule.postponePodEvents(now: now)
        let countBefore = table.notKeptMACCount
        table.withholdForwarding()
        let isComplete = try forwardingEvents.read { table.apply($0) }
        if !podChanges.show(table.takeChangedPorts(), in: &table, now: now) {
            status.podChangesPostponed.add()
        }
        status.macsNotKept.add(table.notKeptMACCount - countBefore)
        if !isComplete { bridgeListing.request() }
    }

    /// Takes over what bridges know behind their ports, listed because events were lost.
    private mutating func takeBridgeListing(now: MonotonicTime) {
        for listing in listingThread.takeReplies() {
            let countBefore = table.notKeptMACCount
            table.apply(listing)
            _ = table.takeChangedPorts()
            status.macsNotKept.add(table.notKeptMACCount - countBefore)
            status.bridgeListings.add()
            status.bridgePortsCut.add(listing.cutCount)
            bridgeListing.finish(listing, now: now)
        }
    }

    /// Asks about the pods that captures have seen something new of.
    private mutating func take(_ sightings: Sightings, now: MonotonicTime) {
        schedule.postponePodEvents(now: now)
        sighted.lower()
        let (edges, senders) = sightings.take()
        table.requestRefresh(onBridgesOf: edges)
        table.requestRefresh(behind: Set(senders.values))
        for (address, index) in senders { table.addSender(address, behind: index) }
        queryPods(table.takePendingRefreshes())
    }

    private func queryPods(_ indexes: [UInt32]) {
        queryThread.send(indexes.map { .pod(behind: $0) })
    }

    private mutating func takeEvents(now: MonotonicTime) throws(SystemError) {
        var hasOwnChange = false
        var hasNamespaceChange = false
        let isComplete = try events.read { event in
            table.apply(event)
            if event == .address || event == .route { hasOwnChange = true }
            if event == .namespace { hasNamespaceChange = true }
        }
        // The kernel gives a pod's namespace its id after the runtime has made the file.
        if hasNamespaceChange { namespaces?.request(now: now) }
        if table.lacksNamespaces { namespaces?.requestForLack(now: now) }
        // An interface that leaves the node's namespace may have gone into a pod.
        listPodInterfaces(mayHaveChanged: true, now: now)
        if !isComplete {
            status.resyncs.add()
            status.isSynced.set(false)
            let reason = "the receive buffer was full"
            if let metadata = loss.recordFailure(reason, now: now) {
                logger.notice("netlink events lost, resyncing", metadata: metadata)
            }
            needsListing = true
        }
        let indexes = table.takePendingRefreshes()
        if hasOwnChange {
            queryThread.send([.own])
            queryPods(table.indexesWithFurtherAddresses)
        }
        queryPods(indexes)
        schedule.add(indexes, now: now)
    }

    /// Lists all interfaces; where they change faster than they can be listed, once more later.
    private mutating func listLinks(now: MonotonicTime) {
        do throws(SystemError) {
            var source = try NodeSource()
            table.reset(links: try source.links())
            needsListing = false
            _ = listingFailure.recordSuccess()
            status.isSynced.set(true)
            queryThread.send([.own])
            queryPods(table.takePendingRefreshes())
        } catch {
            if let metadata = listingFailure.recordFailure("\(error)", now: now) {
                logger.warning("cannot list the node's interfaces", metadata: metadata)
            }
        }
    }

    private mutating func announce(_ node: Node) {
        let hasNames = nameResolver?.isAvailable ?? false
        for change in announcer.takeChanges(to: node, hasNames: hasNames, now: .now) {
            logger.info("\(change.message)", metadata: Self.metadata(change.veth))
        }
    }

    /// Counts and logs MAC addresses that have been taken from their pods.
    private func warn(of taken: Set<Node.TakenMAC>, in node: Node) {
        for one in taken {
            status.macsTaken.add()
            let metadata: Logger.Metadata = [
                "mac": "\(one.mac)", "edge": "\(node.link(one.owner)?.name ?? "")",
                "taker": "\(node.link(one.taker)?.name ?? "")",
            ]
            logger.warning("a pod's MAC address is in use behind another edge", metadata: metadata)
        }
    }

    private static func metadata(_ veth: Veth) -> Logger.Metadata {
        let addresses = (veth.podAddresses ?? []).filter { !$0.isLinkLocalIPv6 }
        var metadata: Logger.Metadata = [
            "edge": "\(veth.link.name)", "index": .number(veth.link.index),
            "addresses": "\(addresses.map(\.description).joined(separator: ","))",
        ]
        if let pod = veth.pod { metadata["pod"] = "\(pod)" }
        return metadata
    }
}
