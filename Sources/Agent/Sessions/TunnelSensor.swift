import Addressing
import Edges
import Forwarding
import Linux
import Log
import Logging
import Metrics
import Netlink
import Observation
import Packets
import Settings
import Time
import Tunnels

/// The loop that feeds one sensor through a tunnel for as long as the agent runs.
///
/// Nothing answers over UDP. The capture therefore runs all the time, and only the name, the sockets
/// and what the network reports can fail. What is lost is counted, and the log has a line for each
/// change of state, and one every five minutes for what goes on.
struct TunnelSensor: SensorFeeder {
    let context: SessionContext
    private let sensor: SensorName
    private let target: TunnelTarget
    let orders: SensorOrders
    private let status: PeerStatus
    let logger: Logger
    var backoff = Backoff()
    private var failure = FailureLogThrottle()
    private var refusal = FailureLogThrottle()
    private var loss = FailureLogThrottle()

    /// How often a name is resolved again, since nothing tells that it has another address.
    private static let resolveInterval = Duration.seconds(60)
    /// The time between two looks at what the sending thread notes, which may be much.
    private static let newsInterval = Duration.seconds(1)
    /// After this time without an error the sensor counts as reachable again.
    private static let quietInterval = Duration.seconds(30)

    init(
        _ context: SessionContext, _ sensor: SensorName, _ target: TunnelTarget,
        _ orders: SensorOrders, logger: Logger
    ) {
        (self.context, self.sensor, self.target, self.orders) = (context, sensor, target, orders)
        status = context.status.sensor(sensor)
        self.logger = logger.limited(to: sensor)
    }

    /// Feeds the sensor until the agent stops, whenever it is to be fed.
    mutating func run() {
        nameThread("podwire-tunnel")
        if context.settings.tls?.isForSensors == true {
            logger.warning("a tunnel has no TLS: what the sensor gets can be read on its way")
        }
        followOrders()
    }

    /// Feeds the sensor until that fails, or is not to be any more.
    mutating func serve() {
        status.isSought.set(true)
        var feed = open()
        status.isSought.set(false)
        while let current = feed {
            let begin = MonotonicTime.now
            let reason = keep(current)
            // The next one has begun before this one ends, so no packet is missed.
            feed = reason == .moved ? open() : nil
            end(current, because: reason == .revoked ? context.revocationReason : "\(reason)")
            recordFeed(since: begin)
        }
    }

    /// Looks whether datagrams could be sent; nobody can say whether they would arrive.
    func probe() {
        let addresses = (try? resolve(target.host, port: target.port)) ?? []
        orders.recordProbe(
            isPresent: addresses.contains {
                (try? DatagramSender(to: $0, fragmentation: .allowed)) != nil
            })
    }
}

/// Why a feed through a tunnel ends.
private enum EndReason: Equatable, CustomStringConvertible {
    case stopped
    case revoked
    case moved
    case failed(String)

    var description: String {
        switch self {
        case .stopped: "the agent stops"
        case .revoked: "this node feeds another sensor"
        case .moved: "its name leads to another address"
        case .failed(let reason): reason
        }
    }
}

/// A feed through a tunnel: its capture, and what its sending thread notes.
private struct TunnelFeed {
    let capture: LiveCapture
    let news: TunnelNews
    let peer: SocketAddress
    /// The addresses of the sockets.
    let locals: [SocketAddress]
}

/// How a feed begins and ends.
extension TunnelSensor {
    /// Begins to feed the sensor, or logs why that is impossible.
    private mutating func open() -> TunnelFeed? {
        do {
            let addresses = try resolve(target.host, port: target.port)
            context.feed.add(addresses.map(\.address), of: sensor)
            let feed = try open(to: addresses)
            let failureCount = failure.recordSuccess()
            log(feed, failureCount)
            return feed
        } catch {
            status.recordConnectFailure("\(error)")
            if !context.stop.isGiven,
                let metadata = failure.recordFailure("\(error)", now: .now)
            {
                logger.warning(
                    "sensor not reached",
                    metadata: metadata.merging(SessionRemedy.metadata(for: error)) { $1 })
            }
            return nil
        }
    }

    /// Uses the first of the addresses to which there is a route.
    private func open(to addresses: [SocketAddress]) throws -> TunnelFeed {
        let news = try TunnelNews()
        var failure: SystemError?
        for address in addresses {
            let stream: TunnelStream
            do throws(SystemError) {
                stream = try TunnelStream(
                    to: address, target.header, mayJoin: !isOnThisNode(address.address), news)
            } catch {
                failure = failure ?? SystemError("open sockets to \(address)", error.errno)
                continue
            }
            let locals = stream.locals
            let counters = CaptureCounters(status.edgeMetrics)
            let plan = context.tunnelPlan
            let capture: LiveCapture
            do throws(SystemError) {
                capture = try LiveCapture(
                    plan, to: .tunnel(stream), for: status.name, counters,
                    in: context.captures, context.status.watchdog, logger: logger)
            } catch {
                status.add(counters.counts)
                throw error
            }
            status.beginSession()
            status.add(capture)
            context.filter.add(capture, with: plan.agentFilter)
            return TunnelFeed(capture: capture, news: news, peer: address, locals: locals)
        }
        throw failure ?? SystemError("open sockets", .hostUnreachable)
    }

    /// Whether a packet socket of this node, or of its pods, sees what is sent to an address.
    private func isOnThisNode(_ address: IPAddress) -> Bool {
        let plan = context.feed.snapshot.rule.addressPlan
        return address.isLoopback || plan.isLocalPod(address)
            || plan.nodeAddresses.contains(address)
    }

    private func log(_ feed: TunnelFeed, _ failureCount: Int) {
        var metadata: Logger.Metadata = [
            "peer": "\(feed.peer)", "ports": .number(feed.locals.count),
            "snaplen": .number(context.settings.capture.snaplen),
        ]
        if let local = feed.locals.first { metadata["local"] = "\(local.address)" }
        if failureCount > 0 { metadata["failures"] = .number(failureCount) }
        logger.info("capture started", metadata: metadata)
    }

    private func end(_ feed: TunnelFeed, because reason: String) {
        feed.capture.finish()
        status.remove(feed.capture)
        context.filter.remove(feed.capture)
        status.endSession(reason)
        var metadata = feed.capture.counters.counts.metadata
        metadata["reason"] = "\(reason)"
        logger.info("capture ended", metadata: metadata)
    }
}

/// How a feed is kept.
extension TunnelSensor {
    private enum Awaited { case stop, revocation, captureEnd, news }

    /// Waits until the feed ends.
    ///
    /// - Returns: The reason.
    private mutating func keep(_ feed: TunnelFeed) -> EndReason {
        var resolvesAt = MonotonicTime.now + Self.resolveInterval
        var newsAt = MonotonicTime.now
        var quietAt: MonotonicTime?
        while true {
            let now = MonotonicTime.now
            let takesNews = now >= newsAt
            var deadline = resolvesAt
            if !takesNews { deadline = min(deadline, newsAt) }
            if let quietAt { deadline = min(deadline, quietAt) }
            let ready = try? poll(
                [
                    Awaited.stop: (context.stop.fileDescriptor, .readable),
                    .revocation: (orders.revocationDescriptor, .readable),
                    .captureEnd: (feed.capture.endedFileDescriptor, .readable),
                    .news: (takesNews ? feed.news.event.fileDescriptor : -1, .readable),
                ], until: deadline)
            guard let ready else { return .failed("the sensor's thread cannot wait") }
            if !ready[.stop].isEmpty { return .stopped }
            if !ready[.revocation].isEmpty { return .revoked }
            if !ready[.captureEnd].isEmpty {
                return .failed(feed.capture.endReason.map { "\($0)" } ?? "the capture ended")
            }
            if !ready[.news].isEmpty {
                newsAt = .now + Self.newsInterval
                if handle(feed.news.take(), of: feed) { quietAt = .now + Self.quietInterval }
            }
            if let time = quietAt, .now >= time {
                quietAt = nil
                noteQuiet()
            }
            if .now >= resolvesAt {
                resolvesAt = .now + Self.resolveInterval
                if hasMoved(feed) { return .moved }
            }
        }
    }

    /// Handles what the sending thread has noted.
    ///
    /// - Returns: Whether packets do not arrive.
    private mutating func handle(_ notes: TunnelNews.Notes, of feed: TunnelFeed) -> Bool {
        let backends = notes.echoes.union(notes.echoes.isEmpty ? [] : backends(of: feed))
        if !backends.isEmpty {
            context.feed.add(Array(backends), of: sensor)
            logger.info(
                "the sensor is behind another address",
                metadata: ["peer": "\(backends.map(\.description).sorted().joined(separator: ","))"]
            )
        }
        if let errno = notes.loss {
            status.setTrouble(errno == .noBufferSpace ? nil : "packets are lost: \(errno)")
            if var metadata = loss.recordFailure("\(errno)", now: .now) {
                metadata["lost"] = .number(feed.capture.counters.lostCount)
                logger.warning("packets to the sensor are lost", metadata: metadata)
            }
        }
        if let errno = notes.refusal {
            status.setTrouble("the network says: \(errno)")
            if let metadata = refusal.recordFailure("\(errno)", now: .now) {
                logger.warning("the network refuses datagrams to the sensor", metadata: metadata)
            }
        }
        return notes.loss != nil || notes.refusal != nil
    }

    private mutating func noteQuiet() {
        status.setTrouble(nil)
        if refusal.isFailing || loss.isFailing {
            logger.info("the network takes datagrams to the sensor again")
        }
        _ = (refusal.recordSuccess(), loss.recordSuccess())
    }

    /// Whether the sensor's name leads elsewhere by now; an unknown answer means no.
    private func hasMoved(_ feed: TunnelFeed) -> Bool {
        guard IPAddress(target.host) == nil,
            let addresses = try? resolve(target.host, port: target.port)
        else { return false }
        context.feed.add(addresses.map(\.address), of: sensor)
        return !addresses.contains(feed.peer)
    }

    /// The addresses to which connection tracking leads the feed, if the sensor's is a service's.
    private func backends(of feed: TunnelFeed) -> Set<IPAddress> {
        Agent.backends(
            of: feed.locals.map { local in
                FlowKey(
                    transport: IPProtocol.udp, source: local.address,
                    destination: feed.peer.address, sourcePort: local.port,
                    destinationPort: feed.peer.port)
            })
    }
}
