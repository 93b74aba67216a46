import Settings
import Edges
import Forwarding
import BPF
import Addressing
import Glibc
import Linux
import Log
import Logging
import RPCAP
import Security

/// Captures, as a session has them.
extension ControlSession {
    /// How large a client should make its buffer for datagrams, bytes. One for TCP finds its size by
    /// itself.
    private static let datagramBufferByteCount: UInt32 = 8 << 20

    /// A capture that begins when the connection to the peer's data port is there.
    struct PendingStart {
        let request: StartRequest
        let plan: CapturePlan
    }

    mutating func start(_ request: StartRequest) {
        do {
            guard let scope = context.feed.node.scope(ofDevice: request.device, context.settings)
            else { throw Refusal(description: "\(request.device) is gone") }
            let plan = plan(request, scope, try Program(checking: request.filter))
            if request.flags.contains(.udp) {
                try startOverUDP(plan, request)
            } else if mode == .active || request.flags.contains(.serverOpens) {
                // Nothing is captured before there is the connection for it.
                awaitedData = AwaitedData(
                    try PendingConnection(to: peer.with(port: request.dataPort)))
                pendingStart = PendingStart(request: request, plan: plan)
            } else {
                try startForClient(plan, request)
            }
        } catch {
            refuseStart("\(error)")
        }
    }

    private struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    private mutating func refuseStart(_ reason: String) {
        endCapture()
        logger.warning("capture refused", metadata: ["reason": "\(reason)"])
        session.captureRefused(reason)
    }

    private func plan(
        _ request: StartRequest, _ scope: CaptureScope, _ filter: Program
    ) -> CapturePlan {
        CapturePlan(
            feed: context.feed, scope: scope,
            tracksConnections: context.tracksConnections && scope == .stream, filter: filter,
            snaplen: min(request.snaplen, context.settings.snaplen),
            ringByteCountMax: context.settings.ringByteCountMax,
            queueByteCountMax: context.settings.queueByteCountMax, sampling: request.sampling,
            bytesPerSecondMax: context.settings.bytesPerSecondMax,
            placement: context.settings.placement,
            restoresWireForm: context.settings.restoresWireForm,
            datagramFormat: request.flags.contains(.udp) ? datagramFormat : nil)
    }

    /// Sensors expect what ExtraHop's daemon sends, and clients what libpcap's does.
    private var datagramFormat: DatagramWriter.Format {
        context.settings.datagramFormat ?? (mode == .active ? .udpstr : .packet)
    }

    private var tls: TLSServer? { context.tls(for: mode) }

    private mutating func startOverUDP(_ plan: CapturePlan, _ request: StartRequest) throws {
        guard tls == nil else {
            throw Refusal(description: "there is no TLS over UDP: ask for data over TCP")
        }
        let stream = try DatagramStream(
            to: peer.with(port: request.dataPort), from: context.settings.dataPorts,
            as: plan.datagramFormat ?? .packet,
            readTimeoutMilliseconds: request.readTimeoutMilliseconds)
        try begin(plan, request, .datagrams(stream))
        session.captureStarted(bufferByteCount: Self.datagramBufferByteCount)
    }

    private mutating func startOverTCP(
        _ start: PendingStart, _ connection: consuming Connection
    ) throws {
        if let tls {
            // The client begins with TLS when it has our answer.
            let awaited = AwaitedData(handshake: try tls.accept(connection))
            try begin(start.plan, start.request, .awaited)
            awaitedData = .some(awaited)
        } else {
            try begin(start.plan, start.request, .stream(connection.intoDescriptor()))
        }
        session.captureStarted()
    }

    /// Listens for the data connection where the control connection came to. Packets wait for it.
    private mutating func startForClient(_ plan: CapturePlan, _ request: StartRequest) throws {
        let listener = try Listener(
            at: local, ports: context.settings.dataPorts ?? 0...0, backlog: 1)
        let port = listener.local.port
        try begin(plan, request, .awaited)
        awaitedData = AwaitedData(listener)
        session.captureStarted(dataPort: port)
    }

    private mutating func begin(
        _ plan: CapturePlan, _ request: StartRequest, _ connection: consuming sending DataConnection
    ) throws {
        let counters = CaptureCounters(status.ledger)
        let capture: LiveCapture
        do throws(SystemError) {
            capture = try LiveCapture(
                plan, to: connection, for: status.name, counters, context.status.pulses, logger: logger)
        } catch {
            // Some rings may have been open for a while.
            status.add(counters)
            throw error
        }
        status.begins(capture)
        self.capture = capture
        filter = plan.filter
        logger.info(
            "capture started",
            metadata: [
                "device": "\(request.device)", "snaplen": .number(plan.snaplen),
                "edge_count": .number(plan.snapshot.places.count),
                "filter": "\(filter?.summary ?? "none")",
                "sampling": "\(request.sampling)",
                "data": request.flags.contains(.udp) ? "UDP" : "TCP",
            ])
    }

    /// Goes on with opening the data connection, if it is not there yet.
    mutating func attendToData(isReady: Bool) throws {
        guard var awaited = awaitedData.take() else { return }
        if let start = pendingStart {
            return attend(to: start, awaited, isReady: isReady)
        }
        if isReady, let connection = try awaited.proceed(peer: peer, tls: tls) {
            capture?.attach(connection)
            return
        }
        guard monotonicNanoseconds() < awaited.deadline else {
            return end("the peer opened no data connection within 10 s")
        }
        awaitedData = .some(awaited)
    }

    /// Begins to capture when the peer's data port has answered.
    private mutating func attend(
        to start: PendingStart, _ awaited: consuming AwaitedData, isReady: Bool
    ) {
        guard isReady else {
            guard monotonicNanoseconds() < awaited.deadline else {
                let address = peer.with(port: start.request.dataPort)
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
            logger.info(
                "filter updated",
                metadata: ["filter": "\(filter.summary)"])
            session.filterUpdated()
        } catch {
            session.filterRefused("\(error)")
        }
    }

    func sample(_ sampling: Sampling) {
        capture?.adopt(sampling: sampling)
        logger.info("sampling updated", metadata: ["sampling": "\(sampling)"])
    }

    func statistics() -> CaptureStatistics {
        guard let capture else { return CaptureStatistics() }
        capture.count()
        return capture.counters.statistics
    }

    mutating func endCapture() {
        awaitedData = nil
        pendingStart = nil
        guard let capture = capture.take() else { return }
        capture.finish()
        status.ends(capture)
        logger.info("capture ended", metadata: capture.counters.metadata)
    }
}

extension Program {
    /// What the log says of a filter.
    fileprivate var summary: String {
        let count = instructions.count
        // A client that has no filter says so with a program that keeps all.
        if count == 1, instructions[0].opcode == .keep, instructions[0].operand > 0 {
            return "none"
        }
        return count == 1 ? "1 instruction" : "\(count) instructions"
    }
}
