import Addressing
import CaptureFiles
package import Linux
import Log
package import Logging
import RPCAP
import Security
import Time

/// A sensor: it accepts agents, dials others, and gives what they send to its outputs.
///
/// One thread serves all agents with a poll loop. The collector belongs to that thread.
package final class Collector {
    private var listener: Listener?
    let requests: CollectorRequests
    /// When it stops by itself.
    let endsAt: MonotonicTime
    private let options: CaptureOptions
    let logger: Logger
    /// A log of lines that anybody can cause who connects.
    let doorLogger: Logger
    let view: LiveView
    let outputs: Outputs
    var merge: PacketMerge
    var names: NameKeeper
    private(set) var links: [AgentLink] = []
    /// The links by their ids.
    private var linksByID: [Int: AgentLink] = [:]
    private var watch: LinkWatch
    var admission: AgentAdmission
    private var nextLinkID = 0
    /// The ends of all links' connections, and the version that was dealt with.
    let connections: OwnConnections
    var knownVersion = 0
    /// The version of the outputs' own connections that agents are told to leave out.
    var knownOutputVersion = -1
    /// When agents may be given other filters again.
    var nextExclusion = MonotonicTime.zero
    var echo = FeedEcho()
    let dialers: [SourceDialer]
    /// The throttles of lines about agents that dial, by their addresses.
    var agentLines = PeerLogTable()
    var remedies = RemedyThrottle()
    /// Whether the captures are being ended.
    var isStopping = false
    /// The throttle of the line that says that no agent can be accepted.
    private var doorLines = FailureLogThrottle()
    /// Whether agents are accepted; false for the rest of a second after one could not be.
    ///
    /// The next one would fail for the same reason, and the listener would stay ready.
    private var accepts = true
    /// Why it could not go on, such as the failure of its only output.
    package internal(set) var failure: SystemError?
    private var buffer = [UInt8](repeating: 0, count: Collector.readByteCount)

    /// The most agents that are dialled or capture.
    ///
    /// Each takes three descriptors.
    package static let linkCountMax = AgentAdmission.capturingCountMax
    private static let readByteCount = 256 << 10
    /// The most lines at once about agents that dial.
    private static let doorLineCountMax = 1024
    static let tickInterval = Duration.seconds(1)

    /// A descriptor that is waited for.
    ///
    /// Dialers are known by their places.
    enum Key: Hashable {
        case requests
        case listener
        case links
        case dialer(Int)
        case output(Outputs.Key)
    }

    /// Creates a collector, which listens from now on if it is to.
    ///
    /// Without an address it does not listen. Outputs are opened when that has worked, so that no file
    /// is emptied for nothing. It stops by itself after a duration, counted from now on, if there is one.
    package init(
        at address: SocketAddress?, from sources: [Source], to outputOptions: OutputOptions,
        _ options: CaptureOptions, requests: CollectorRequests, duration: Duration?,
        view: LiveView, logger: Logger
    ) throws(SystemError) {
        endsAt = duration.map { MonotonicTime.now + $0 } ?? .distantFuture
        listener = try Self.listen(at: address)
        watch = try LinkWatch()
        admission = AgentAdmission(countMax: options.agentCountMax)
        outputs = try Outputs(outputOptions, snaplen: options.snaplen, now: .now)
        merge = try PacketMerge(window: outputOptions.orderWindow)
        names = NameKeeper(options.inventory)
        dialers = sources.map { SourceDialer($0) }
        connections = OwnConnections(receivesDatagrams: options.usesDatagrams)
        self.options = options
        self.requests = requests
        self.view = view
        self.logger = logger
        doorLogger = LimitedLogHandler.limiting(logger, lineCountMax: Self.doorLineCountMax)
        if let local = listener?.local { announce(local, hasTLS: options.dialledTrust != nil) }
    }

    /// Listens at the address.
    ///
    /// Without IPv6 in the kernel, its wildcard means IPv4's.
    private static func listen(at address: SocketAddress?) throws(SystemError) -> Listener? {
        guard let address else { return nil }
        do throws(SystemError) {
            return try Listener(at: address)
        } catch {
            guard error.errno == .addressFamilyNotSupported,
                address.address == IPAddress(ipv6High: 0, low: 0)
            else { throw error }
            return try Listener(at: SocketAddress(IPAddress(ipv4: 0), port: address.port))
        }
    }

    /// Serves agents until it is asked to stop, or has reason to; then ends their captures, and completes
    /// the file.
    ///
    /// If something keeps it from going on, it ends at once, and `failure` says what.
    ///
    /// - Parameter showNumbers: Called when it is asked for the numbers so far.
    package func run(showNumbers: (Collector) -> Void) {
        do throws(SystemError) {
            let reason = try serve(showNumbers)
            view.note("stopping", ["reason": "\(reason)"], logger)
            try finish()
        } catch {
            failure = error
            abandon()
        }
    }

    /// Serves agents.
    ///
    /// - Returns: Why it stops.
    private func serve(_ showNumbers: (Collector) -> Void) throws(SystemError) -> String {
        // What is said of the end may be no line of the log.
        defer { view.makePlace() }
        var nextTick = MonotonicTime.now + Self.tickInterval
        while true {
            let deadlines = dialers.compactMap(\.deadline) + [merge.deadline].compactMap(\.self)
            let ready = try wait(
                until: deadlines.reduce(min(nextTick, endsAt, outputs.deadline), min))
            let now = MonotonicTime.now
            if ready[.requests].contains(.readable),
                let reason = try dealWithRequests(now, showNumbers)
            {
                return reason
            }
            for (place, dialer) in dialers.enumerated() {
                advance(dialer, isReady: !ready[.dialer(place)].isEmpty, now)
            }
            try serveLinks(now)
            merge.advance(now: now)
            try recordDue(now)
            if ready[.listener].contains(.readable) { accept(now) }
            try deliver(ready, now)
            if now >= nextTick {
                nextTick = now + Self.tickInterval
                try tick(now)
            }
            if let reason = reasonToStop(now) { return reason }
        }
    }

    /// The statistics of each device that has been captured from.
    package var statistics: [SourceStatistics] {
        let now = MonotonicTime.now
        return outputs.sources.counters.map { $0.statistics(now: now) }
    }

    /// What the limits for connections have done.
    package var admissionCounts: AdmissionCounts { admission.counts }

    /// What happened to packets that are not in the order of their time stamps.
    package var orderCounts: TimeOrder.Counts { merge.counts }

    /// What was not believed or not kept of the names that agents have said.
    package var nameCounts: NameTable.Counts { names.counts }

    /// What has been written: one entry, or one for each link type.
    package var files: [RecordedFiles] { outputs.files }

    /// What became of the packets at each output.
    package var outputCounts: [OutputCounts] { outputs.counts }

    /// The conversations, if they are counted.
    package var flows: FlowSink? { outputs.flows }
}

/// Waiting.
extension Collector {
    private func wait(
        until deadline: MonotonicTime
    ) throws(SystemError) -> ReadyDescriptors<Key> {
        var requests = peerRequests
        requests[.requests] = (self.requests.fileDescriptor, .readable)
        if accepts, let number = listener?.fileDescriptor {
            requests[.listener] = (number, .readable)
        }
        for (place, dialer) in dialers.enumerated() {
            requests[.dialer(place)] = dialer.request
        }
        return try wait(for: requests, until: deadline)
    }

    var peerRequests: [Key: (fileDescriptor: CInt, interest: Readiness)] {
        var requests: [Key: (fileDescriptor: CInt, interest: Readiness)] = [
            .links: (watch.fileDescriptor, .readable)
        ]
        for (key, request) in outputs.requests(now: .now) { requests[.output(key)] = request }
        return requests
    }

    /// Waits for descriptors.
    ///
    /// If a link has bytes that poll does not know of, it looks only.
    func wait(
        for requests: [Key: (fileDescriptor: CInt, interest: Readiness)],
        until deadline: MonotonicTime
    ) throws(SystemError) -> ReadyDescriptors<Key> {
        try poll(requests, until: watch.hasBuffering ? .zero : deadline)
    }
}

/// Agents that come and go.
extension Collector {
    private func accept(_ now: MonotonicTime) {
        let connection: Connection?
        do throws(SystemError) {
            connection = try listener?.accept() ?? nil
        } catch {
            // Out of descriptors, most likely: agents that wait get their turn when others are gone.
            accepts = false
            let news = doorLines.recordFailure("\(error)", now: now)
            return news.map { view.warn("agent not accepted", $0, logger) } ?? ()
        }
        guard let connection else { return }
        let peer = connection.peer
        switch admission.admit(peer.address, as: nextLinkID, now: now) {
        case .refused(let reason):
            return view.warn(
                "agent refused", ["agent": "\(peer)", "reason": "\(reason)"], doorLogger)
        case .admitted(let evicted):
            link(numbered: evicted)?.end("it has not begun to capture, and others wait")
        }
        do {
            try connection.watchPeer()
            try connection.sendAtOnce()
            try begin(connection, from: nil, now)
        } catch {
            admission.remove(nextLinkID)
            warnOfRefusal(of: peer, error, now)
        }
    }

    /// The link with a number; nil for nil, and if it is gone.
    func link(numbered id: Int?) -> AgentLink? { id.flatMap { linksByID[$0] } }

    @discardableResult
    private func begin(
        _ connection: consuming Connection, from source: Source?, _ now: MonotonicTime
    ) throws(TLSFailure) -> AgentLink {
        let channel = try options.channel(over: connection, for: source)
        let link = AgentLink(
            channel, from: source, options, connections, id: nextLinkID, now: now)
        nextLinkID += 1
        links.append(link)
        linksByID[link.id] = link
        noteConnection(of: link)
        link.proceed(now: now)
        refresh(link)
        return link
    }

    private func advance(_ dialer: SourceDialer, isReady: Bool, _ now: MonotonicTime) {
        switch dialer.advance(isReady: isReady, now: now) {
        case .none: break
        case .connected(let connection):
            do throws(TLSFailure) {
                dialer.begin(try begin(connection, from: dialer.source, now))
            } catch {
                dialer.end(now: now)
                warnOfTLS(error, with: dialer, now)
            }
        case .failed(let failure):
            warn(dialer, "\(failure)", Remedy.text(for: failure.kind), now)
        }
    }

    func removeEnded(_ now: MonotonicTime) {
        guard links.contains(where: { $0.endReason != nil }) else { return }
        for link in links {
            guard let reason = link.endReason else { continue }
            let isCaptured = isCaptured(beside: link)
            // Another link may have the same counters.
            let goesOn = links.contains { $0.endReason == nil && $0.counters === link.counters }
            if !goesOn {
                link.counters?.end(link.hasEnded || isCaptured ? .ended : .gone, now: now)
            }
            watch.remove(link)
            linksByID[link.id] = nil
            connections.remove(link.id)
            admission.remove(link.id)
            echo.graph.remove(link.id)
            let pause = link.isLoop ? AgentLink.loopPause : .zero
            if pause > .zero { link.counters?.rest(until: now + pause) }
            dialers.first { $0.link === link }?.end(now: now, pause: pause)
            reportEnd(of: link, reason, isCaptured: isCaptured, now)
        }
        links.removeAll { $0.endReason != nil }
    }

    /// Whether another session captures the device of a link that ends, so that nothing is missing.
    ///
    /// So it is when an agent has taken over from another one of its node. A link that breaks off is no such
    /// case: most likely its agent has dialled again, and packets were lost before.
    private func isCaptured(beside link: AgentLink) -> Bool {
        guard link.isDrained, let counters = link.counters else { return false }
        return links.contains {
            $0.endReason == nil && $0.closeReason == nil && $0.counters !== counters
                && $0.counters?.presence === counters.presence
        }
    }
}

/// Agents that are connected.
extension Collector {
    /// Deals with the links that are ready.
    func serveLinks(_ now: MonotonicTime) throws(SystemError) {
        let ready = try watch.takeReady()
        for link in ready.links.sorted().compactMap({ linksByID[$0] }) {
            if link.hasDataBytes || ready.keys.contains(LinkWatch.Key(link.id, isData: true)) {
                readData(link, now)
            }
            if link.hasControlBytes || ready.keys.contains(LinkWatch.Key(link.id, isData: false)) {
                link.writeControl(now: now)
                link.readControl(into: &buffer, now: now)
            }
            settle(link, now)
        }
        removeEnded(now)
        excludeNewConnections(now)
        if let failure { throw failure }
    }

    /// Draws the consequences of what a link has read, or of the time.
    private func settle(_ link: AgentLink, _ now: MonotonicTime) {
        if link.isCapturing, link.carriesPackets { count(link, now) }
        endLoop(of: link, now)
        takeNames(of: link, now)
        warnOfNotes(of: link, now)
        refresh(link)
    }

    /// Has the kernel watch what a link waits for now.
    func refresh(_ link: AgentLink) {
        guard link.endReason == nil else { return }
        do throws(SystemError) {
            try watch.refresh(link)
        } catch {
            link.end("\(error)")
        }
    }

    /// Reads packets, and gives them to the outputs.
    ///
    /// The failure of the only one ends the collector when the turn is over.
    private func readData(_ link: AgentLink, _ now: MonotonicTime) {
        if link.carriesPackets { count(link, now) }
        echo.advance(now: now)
        merge.advance(now: now)
        link.readData(into: &buffer, now: now) { record, frame in
            link.examine(record, frame, &echo, now: now)
            guard let counters = link.counters else { return }
            counters.noteArrival(record.nanosecondsSince1970)
            merge.add(frame, record, of: counters) { outputs.add($0, $1, of: $2) }
        } afterRead: {
            do throws(SystemError) {
                try recordDue(now)
            } catch {
                failure = error
            }
        }
        lookForFeeds(in: link, now)
    }

    /// Gives the packets that are due to the outputs, and begins files that are due.
    private func recordDue(_ now: MonotonicTime) throws(SystemError) {
        while true {
            let isMoreDue = merge.release { outputs.add($0, $1, of: $2) }
            try outputs.flushIfLarge()
            try rotateIfDue(now)
            guard isMoreDue else { return }
        }
    }

    private func tick(_ now: MonotonicTime) throws(SystemError) {
        accepts = true
        // Before statistics are asked for, since a session has one question at a time.
        tickNames(now)
        for link in links {
            link.expire(now: now)
            link.askForStatistics(now: now)
            settle(link, now)
            noteWork(of: link, now)
        }
        removeEnded(now)
        try outputs.flush(now: now)
        try rotateIfDue(now)
        view.show(
            links, absentAgents(now: now), admission.counts, outputs, now: now, logger)
    }

    /// Serves the outputs, and passes on what has gathered for them.
    func deliver(
        _ ready: ReadyDescriptors<Key>, _ now: MonotonicTime
    ) throws(SystemError) {
        try outputs.flushIfLarge()
        outputs.serve({ ready[.output($0)] }, now: now)
        outputs.deliver(now: now)
        tellNews()
    }

    /// Logs what the outputs have to say.
    func tellNews() {
        for news in outputs.takeNews() {
            let logger = news.isOfStrangers ? doorLogger : logger
            if news.isWarning {
                view.warn(news.text, news.values, logger)
            } else {
                view.note(news.text, news.values, logger)
            }
        }
    }

    /// Begins the files that are due, or all that have packets; says which are complete.
    func rotateIfDue(_ now: MonotonicTime, isAsked: Bool = false) throws(SystemError) {
        guard isAsked || outputs.isRotationDue(now: now) else { return }
        merge.countWaiting()
        report(try outputs.rotateIfDue(now: now, isAsked: isAsked), now)
    }

    /// Says which files are complete.
    func report(_ files: [Recording.Finished], _ now: MonotonicTime) {
        guard !files.isEmpty else { return }
        for finished in files {
            view.note(
                "file complete",
                [
                    "path": "\(finished.path)", "bytes": .number(finished.byteCount),
                    "packets": .number(finished.packetCount),
                ], logger)
            if let problem = finished.problem {
                view.warn("file not deleted", ["reason": "\(problem)"], logger)
            }
        }
    }
}
