import BPF
import Frames
import Glibc
import Kernel
import Logging
import RPCAP
import Trust

/// Captures, as a session has them.
extension ControlSession {
    /// How long the data connection may take to open. libpcap's client waits for ever, so this is
    /// what keeps both from it.
    private static let dataConnectMillisecondsMax: CInt = 10_000
    /// How large a client should make its buffer for datagrams, bytes. One for TCP finds its size by
    /// itself.
    private static let datagramBufferByteCount: UInt32 = 8 << 20

    mutating func start(_ request: StartRequest) {
        do {
            guard let scope = context.feed.node.scope(ofDevice: request.device, context.settings)
            else { throw Refusal(description: "\(request.device) is gone") }
            let filter = try Program(checking: request.filter)
            let plan = plan(request, scope, filter)
            if request.flags.contains(.udp) {
                try startOverUDP(plan, request)
            } else if mode == .active || request.flags.contains(.serverOpens) {
                try startOverTCP(plan, to: peer.with(port: request.dataPort))
            } else {
                try startForClient(plan)
            }
            self.filter = filter
            logger.info(
                "capture started",
                metadata: [
                    "device": "\(request.device)", "snaplen": "\(plan.snaplen)",
                    "edges": "\(context.feed.snapshot.limited(to: scope).places.count)",
                    "filter": "\(filter.instructions.count) instructions",
                    "sampling": "\(request.sampling)",
                    "data": request.flags.contains(.udp) ? "UDP" : "TCP",
                ])
        } catch {
            logger.warning("capture refused", metadata: ["reason": "\(error)"])
            session.captureRefused("\(error)")
        }
    }

    private struct Refusal: Error, CustomStringConvertible {
        let description: String
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
            datagramFormat: request.flags.contains(.udp) ? datagramFormat : nil)
    }

    /// Sensors expect what ExtraHop's daemon sends, and clients what libpcap's does.
    private var datagramFormat: DatagramWriter.Format {
        context.settings.datagramFormat ?? (mode == .active ? .udpstr : .packet)
    }

    private mutating func startOverUDP(_ plan: CapturePlan, _ request: StartRequest) throws {
        guard context.tls == nil else {
            throw Refusal(description: "there is no TLS over UDP: ask for data over TCP")
        }
        let stream = try DatagramStream(
            to: peer.with(port: request.dataPort), from: context.settings.dataPorts,
            as: plan.datagramFormat ?? .packet,
            readTimeoutMilliseconds: request.readTimeoutMilliseconds)
        capture = try LiveCapture(plan, to: .datagrams(stream), logger: logger)
        session.captureStarted(bufferByteCount: Self.datagramBufferByteCount)
    }

    /// Nothing is captured before there is the connection for it.
    private mutating func startOverTCP(_ plan: CapturePlan, to address: SocketAddress) throws {
        let connection = try Connection(
            to: address, milliseconds: Self.dataConnectMillisecondsMax, cancel: context.stop)
        try connection.watchPeer()
        if let tls = context.tls {
            // The client begins with TLS when it has our answer.
            capture = try LiveCapture(plan, to: .awaited, logger: logger)
            awaitedData = try AwaitedData(handshake: tls.accept(connection))
        } else {
            capture = try LiveCapture(
                plan, to: .stream(connection.intoDescriptor()), logger: logger)
        }
        session.captureStarted()
    }

    /// Listens for the data connection where the control connection came to. Packets wait for it.
    private mutating func startForClient(_ plan: CapturePlan) throws {
        let listener = try Listener(
            at: local, ports: context.settings.dataPorts ?? 0...0, backlog: 1)
        let port = listener.local.port
        capture = try LiveCapture(plan, to: .awaited, logger: logger)
        awaitedData = AwaitedData(listener)
        session.captureStarted(dataPort: port)
    }

    /// Goes on with opening the data connection, if it is not there yet.
    mutating func attendToData(isReady: Bool) throws {
        guard var awaited = awaitedData.take() else { return }
        if isReady, let outlet = try awaited.proceed(peer: peer, tls: context.tls) {
            capture?.attach(outlet)
            return
        }
        guard monotonicNanoseconds() < awaited.deadline else {
            return end("the peer opened no data connection within 10 s")
        }
        awaitedData = .some(awaited)
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
                metadata: ["filter": "\(filter.instructions.count) instructions"])
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
        guard let capture = capture.take() else { return }
        capture.finish()
        logger.info("capture ended", metadata: capture.counters.metadata)
    }
}
