import BPF
import Edges
import Forwarding
import Linux
import Log
import Logging
import RPCAP
import Security
import Settings
import Time

/// The capture.
extension ControlSession {
    private var tls: TLSServer? { context.tls(for: mode) }

    mutating func start(_ request: StartRequest) {
        // One that has ended by itself need not be ended first.
        endCapture()
        do {
            guard let scope = context.feed.node.scope(ofDevice: request.device, context.settings)
            else { throw Refusal(description: "\(request.device) is gone") }
            let plan = context.plan(request, scope, try Program(checking: request.filter), mode)
            if request.flags.contains(.udp) {
                try startOverUDP(plan, request)
            } else if mode == .active || request.flags.contains(.serverOpens) {
                // The capture begins when the connection for its packets is ready.
                awaitedData = AwaitedData(
                    try PendingConnection(to: channel.peer.with(port: request.dataPort)), now: .now)
                pendingStart = PendingStart(request: request, plan: plan)
            } else {
                try startForClient(plan, request)
            }
        } catch {
            refuseStart("\(error)")
        }
    }

    private mutating func refuseStart(_ reason: String) {
        endCapture()
        logger.warning("capture refused", metadata: ["reason": "\(reason)"])
        session.captureRefused(reason)
    }

    /// The size of the buffer that a client should have for datagrams.
    ///
    /// A buffer for TCP finds its size by itself. A sensor gets 0, as from ExtraHop's daemon.
    private static let datagramBufferByteCount: UInt32 = 8 << 20

    private mutating func startOverUDP(_ plan: CapturePlan, _ request: StartRequest) throws {
        guard tls == nil else {
            throw Refusal(description: "there is no TLS over UDP: ask for data over TCP")
        }
        let stream: DatagramStream
        do throws(SystemError) {
            stream = try DatagramStream(
                to: channel.peer.with(port: request.dataPort), from: context.settings.dataPorts,
                as: plan.datagramFormat ?? .packet,
                readTimeoutMilliseconds: request.readTimeoutMilliseconds)
        } catch {
            throw portRefusal(error)
        }
        try begin(plan, request, .datagrams(stream))
        session.captureStarted(
            bufferByteCount: mode == .active ? 0 : Self.datagramBufferByteCount)
    }

    private mutating func startOverTCP(
        _ start: PendingStart, _ connection: consuming Connection
    ) throws {
        if let tls {
            // The client begins with TLS when it has our answer.
            let awaited = AwaitedData(handshake: try tls.accept(connection), now: .now)
            try begin(start.plan, start.request, .awaited)
            awaitedData = .some(awaited)
        } else {
            try begin(start.plan, start.request, .stream(connection.intoDescriptor()))
        }
        session.captureStarted()
    }

    /// Listens for the data connection at the control connection's address.
    ///
    /// Packets wait for it.
    private mutating func startForClient(_ plan: CapturePlan, _ request: StartRequest) throws {
        let listener: Listener
        do throws(SystemError) {
            listener = try Listener(
                at: channel.local, ports: context.settings.dataPorts ?? 0...0, backlog: 1)
        } catch {
            throw portRefusal(error)
        }
        let port = listener.local.port
        try begin(plan, request, .awaited)
        awaitedData = AwaitedData(listener, now: .now)
        session.captureStarted(dataPort: port)
    }

    /// Says which setting makes ports scarce, if that is why there is none.
    private func portRefusal(_ error: SystemError) -> any Error {
        guard error.errno == .addressInUse, context.settings.dataPorts != nil else { return error }
        return Refusal(description: "all ports of \(Setting.dataPorts.option) are in use")
    }

    private mutating func begin(
        _ plan: CapturePlan, _ request: StartRequest, _ outlet: consuming sending DataConnection
    ) throws {
        let counters = CaptureCounters(status.edgeMetrics)
        let capture: LiveCapture
        do throws(SystemError) {
            capture = try LiveCapture(
                plan, to: outlet, for: status.name, counters,
                in: mode == .active ? context.captures : nil,
                context.status.watchdog, logger: logger)
        } catch {
            // Some rings may have been open for a while.
            status.add(counters.counts)
            throw error
        }
        status.add(capture)
        context.filter.add(capture, with: plan.agentFilter)
        slot?.setCapturing(true)
        self.capture = capture
        capturingSince = .now
        filter = plan.filter
        logger.info(
            "capture started",
            metadata: [
                "device": "\(request.device)", "snaplen": .number(plan.settings.snaplen),
                "edge_count": .number(plan.snapshot.edges.count),
                "sensor_filter": "\(filter?.summary ?? "none")",
                "sampling": "\(request.sampling)",
                "data": request.flags.contains(.udp) ? "UDP" : "TCP",
            ])
    }

    /// Takes the next step towards the data connection, if it is not ready yet.
    mutating func attendToData(isReady: Bool) {
        guard var awaited = awaitedData.take() else { return }
        if let start = pendingStart {
            return attend(to: start, awaited, isReady: isReady)
        }
        do {
            if isReady, let outlet = try awaited.proceed(peer: channel.peer, tls: tls) {
                capture?.attach(outlet)
                return
            }
        } catch {
            return failCapture("the data connection failed: \(error)")
        }
        guard .now < awaited.deadline else {
            return failCapture(awaited.timeoutText(peerWord))
        }
        awaitedData = .some(awaited)
    }

    /// Ends a capture whose data connection has failed; the session goes on.
    private mutating func failCapture(_ reason: String) {
        lastStatistics = closeCapture(reason)?.statistics
        session.captureFailed(reason, now: .now)
    }

    /// Begins to capture when the peer's data port has answered.
    private mutating func attend(
        to start: PendingStart, _ awaited: consuming AwaitedData, isReady: Bool
    ) {
        guard isReady else {
            guard .now < awaited.deadline else {
                let address = channel.peer.with(port: start.request.dataPort)
                return refuseStart("connect to \(address): no answer within 10 s")
            }
            awaitedData = .some(awaited)
            return
        }
        pendingStart = nil
        do {
            var awaited = awaited
            guard let connection = try awaited.finishConnecting() else { return }
            try startOverTCP(start, connection)
        } catch {
            refuseStart("\(error)")
        }
    }

    mutating func update(_ instructions: [Instruction]) {
        guard let capture else { return session.filterRefused("no capture is running") }
        do {
            let filter = try Program(checking: instructions)
            do throws(SystemError) {
                try capture.adopt(filter)
            } catch {
                try? capture.adopt(self.filter)
                throw error
            }
            self.filter = filter
            logger.info("filter updated", metadata: ["sensor_filter": "\(filter.summary)"])
            session.filterUpdated()
        } catch {
            // The event that says so may not have been looked at yet.
            let end = capture.endReason.map { text(for: $0) }
            if end != nil { noteCaptureEnd() }
            session.filterRefused(end.map { "the capture has ended: \($0)" } ?? "\(error)")
        }
    }

    func sample(_ sampling: Sampling) {
        capture?.adopt(sampling: sampling)
        logger.info("sampling updated", metadata: ["sampling": "\(sampling)"])
    }

    /// Updates the capture's counters with the kernel's, and returns them.
    func refreshStatistics() -> CaptureStatistics {
        guard let capture else { return lastStatistics ?? CaptureStatistics() }
        capture.count()
        return capture.counters.counts.statistics
    }

    mutating func endCapture() {
        lastStatistics = nil
        closeCapture()
    }

    /// Ends the capture.
    ///
    /// - Parameter reason: Why it has ended by itself, for the log.
    /// - Returns: What it has counted; nil if none was running.
    @discardableResult
    private mutating func closeCapture(_ reason: String? = nil) -> CaptureCounts? {
        awaitedData = nil
        pendingStart = nil
        capturingSince = nil
        guard let capture = capture.take() else { return nil }
        capture.finish()
        slot?.setCapturing(false)
        status.remove(capture)
        context.filter.remove(capture)
        let counts = capture.counters.counts
        var metadata = counts.metadata
        if let reason { metadata["reason"] = "\(reason)" }
        logger.info("capture ended", metadata: metadata)
        return counts
    }

    /// Handles a capture that has ended by itself.
    ///
    /// The session goes on, and the peer can ask for the last counts or start another capture. Only a
    /// peer that reads nothing is given up: there is nothing that it could be told.
    mutating func noteCaptureEnd() {
        let end = capture?.endReason
        let reason = text(for: end)
        failCapture(reason)
        if case .failed(.stalled) = end { self.end(reason) }
    }

    private func text(for end: CaptureEnd?) -> String {
        switch end {
        case .failed(.closed): "the \(peerWord) has closed the data connection"
        case .failed(.stalled): "the \(peerWord) has read nothing for \(Self.silenceSeconds) s"
        case .some(let end): "\(end)"
        case .none: "the capture ended"
        }
    }
}
