import Addressing
import BPF
import Edges
import Forwarding
import Linux
import Log
import Logging
import Metrics
import RPCAP
import Security
import Settings
import Time

/// One session with a sensor or a client: a control connection, and while the peer wants it, a
/// capture.
///
/// A session belongs to a thread of its own. The capture has threads, too, so the peer gets its answers
/// while packets flow, and no peer waits for another.
struct ControlSession: ~Copyable {
    let context: SessionContext
    let mode: ServerSession.Mode
    let status: PeerStatus
    /// The log, behind a gate while the session may repeat a failure.
    let logger: Logger
    /// The log of logins, each of which counts.
    private let loginLogger: Logger
    var channel: Channel
    /// A client's slot among the others; nil for a sensor.
    private(set) var slot: ClientSlot?
    /// A descriptor that is readable when the agent is to leave a sensor; -1 for none.
    private let revocation: CInt
    var session: ServerSession
    private var isLoggedIn = false
    private var input: [UInt8]
    private var output: [UInt8] = []
    /// Since when the peer has not read enough of the output for more requests to be handled.
    private var isBlockedSince: MonotonicTime?
    private var endReason: String?
    var capture: LiveCapture?
    var filter: Program?
    /// The data connection of a capture, until it is ready.
    var awaitedData: AwaitedData?
    /// The start request that waits for the connection to the peer's data port.
    var pendingStart: PendingStart?
    /// What the capture had counted when it ended by itself; nil if it has not.
    var lastStatistics: CaptureStatistics?
    /// The sessions before this one, and whether their lines are repeated.
    private let past: SessionPast
    /// When the capture began that runs; nil for none.
    var capturingSince: MonotonicTime?
    /// Whether a capture has run for long enough, or was ended in order.
    private var hasWorked = false
    /// Whether the agent ends the session, and not because of what the peer did.
    private var isEndedHere = false
    private var hasHeard = false

    /// A capture that begins when the connection to the peer's data port is ready.
    struct PendingStart {
        let request: StartRequest
        let plan: CapturePlan
    }

    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    /// The most bytes of output before the peer's requests wait.
    ///
    /// The longest answer is a list, 60,000 bytes.
    private static let outputByteCountMax = 64 << 10
    /// The time that such a peer has to read its output.
    private static let blockedTimeMax = Duration.seconds(10)
    private static let readByteCount = 16 << 10
    /// The time that a peer which is dropped has to read why: closed at once, its connection would take
    /// the reason with it.
    private static let farewellTime = Duration.seconds(1)

    private init(
        _ context: SessionContext, _ mode: ServerSession.Mode, _ channel: consuming Channel,
        _ status: PeerStatus, _ slot: consuming ClientSlot?, _ revocation: CInt,
        _ past: SessionPast, logger: Logger
    ) {
        self.context = context
        self.past = past
        self.revocation = revocation
        self.mode = mode
        self.status = status
        self.logger = GatedLogHandler.gating(logger, past.gate)
        loginLogger = logger
        self.channel = channel
        self.slot = slot
        session = ServerSession(
            mode, logins: context.logins(mode), now: .now)
        input = [UInt8](repeating: 0, count: Self.readByteCount)
    }

    /// Serves a sensor that the agent dialled, or with a slot a client, until one side ends the session.
    ///
    /// When the agent stops, the session forwards what is captured, for at most a second.
    ///
    /// - Parameters:
    ///   - context: What all sessions share.
    ///   - connection: The control connection.
    ///   - status: Where the session is counted.
    ///   - slot: A client's slot among the others; nil for a sensor.
    ///   - revocation: A descriptor that is readable when the agent is to leave the sensor; -1 for none.
    ///   - past: The sessions with the peer before.
    ///   - logger: Gets the session's log, but not its end.
    /// - Returns: How it ended, for the log.
    static func serve(
        _ context: SessionContext, _ connection: consuming Connection, _ status: PeerStatus,
        _ slot: consuming ClientSlot? = nil, revocation: CInt = -1,
        past: SessionPast = SessionPast(),
        logger: Logger
    ) -> SessionEnd {
        let mode: ServerSession.Mode = slot == nil ? .active : .passive
        do {
            let eviction = slot?.evictionDescriptor ?? -1
            let channel = try context.channel(over: connection, for: mode, eviction: eviction)
            var session = ControlSession(
                context, mode, channel, status, slot, revocation, past,
                logger: logger)
            status.beginSession()
            let end = session.run()
            status.endSession(end.text)
            return end
        } catch {
            let end = SessionEnd(error, mode)
            status.recordConnectFailure(end.text)
            return end
        }
    }

    private mutating func run() -> SessionEnd {
        let heartbeat = context.status.watchdog.begin("the session of \(status.name)")
        while endReason == nil {
            heartbeat.beat()
            do {
                try turn()
            } catch {
                end(text(for: error))
            }
        }
        noteWork(now: .now)
        endCapture()
        if mode == .passive, isLoggedIn { context.feed.removeClient(channel.peer.address) }
        let reason = endReason ?? "ended"
        guard !isEndedHere, !hasWorked else { return SessionEnd(reason, hasWorked: hasWorked) }
        // A client may list devices only, and a probe says nothing.
        let isFailure = mode == .active || hasHeard && (!isLoggedIn || session.lastRefusal != nil)
        return SessionEnd(
            reason, after: session.lastRefusal, isFailure: isFailure, mode)
    }

    /// Records that a capture has run for long enough, if it has: lines about the peer are news again.
    private mutating func noteWork(now: MonotonicTime) {
        guard let capturingSince, now >= capturingSince + PeerLogThrottle.goodTime else { return }
        noteWork()
    }

    /// Records that the session has worked.
    mutating func noteWork() {
        guard !hasWorked else { return }
        hasWorked = true
        guard !past.gate.isOpen else { return }
        past.gate.open()
        guard mode == .active else { return }
        logger.info(
            "the sensor takes packets again", metadata: ["failures": .number(past.failureCount)])
    }

    /// Ends the session for a reason of the agent's own.
    private mutating func endHere(_ reason: String) {
        isEndedHere = true
        end(reason)
    }

    /// The reason why the control connection has failed: the peer's doing, or our own patience.
    private func text(for error: any Error) -> String {
        guard case TLSFailure.system(let cause) = error, Connection.isGivenUp(cause.errno) else {
            return "\(error)"
        }
        return "the \(peerWord) has answered nothing for \(Self.silenceSeconds) s"
    }

    /// What the peer is called in the log and in errors.
    var peerWord: String { mode == .active ? "sensor" : "client" }

    /// The time after which the kernel gives up a connection.
    static var silenceSeconds: Int64 { Connection.silenceMax.components.seconds }

    /// Ends the session, for the first of the reasons that are given.
    mutating func end(_ reason: String) {
        if endReason == nil { endReason = reason }
    }
}

/// The control connection.
extension ControlSession {
    private var isBlocked: Bool { output.count > Self.outputByteCountMax }

    private enum Awaited { case control, stop, captureEnd, data, eviction, revocation }

    /// The descriptor that tells a client to go; -1 for a sensor.
    private var evictionDescriptor: CInt {
        mutating get { slot?.evictionDescriptor ?? -1 }
    }

    /// Waits for something to happen, and handles it.
    private mutating func turn() throws {
        let wantsInput = session.wantsInput && !isBlocked
        let isBuffered = wantsInput && channel.hasBytesToReceive
        var requests: [Awaited: (fileDescriptor: CInt, interest: Readiness)] = [
            .control: (
                channel.fileDescriptor,
                channel.interest(wantsInput: wantsInput, hasOutput: !output.isEmpty)
            ),
            .stop: (context.stop.fileDescriptor, .readable),
            .data: (awaitedData?.fileDescriptor ?? -1, awaitedData?.interest ?? []),
            .eviction: (evictionDescriptor, .readable),
            .revocation: (revocation, .readable),
        ]
        if let capture {
            requests[.captureEnd] = (capture.endedFileDescriptor, .readable)
        }
        let deadline = isBuffered ? .zero : deadline(awaitedData?.deadline)
        let ready = try poll(
            requests, until: min(deadline ?? .distantFuture, .now + Watchdog.waitMax))
        if ready[.stop].contains(.readable) { return endHere("the agent stops") }
        if ready[.eviction].contains(.readable) { return leave() }
        if ready[.revocation].contains(.readable) { return endHere(context.revocationReason) }
        if ready[.captureEnd].contains(.readable) { noteCaptureEnd() }
        attendToData(isReady: !ready[.data].isEmpty)
        let hasFailed = !ready[.control].isDisjoint(with: .failed)
        if isBuffered || hasFailed || wantsInput && !ready[.control].isEmpty { try read() }
        proceed()
        try write()
        noteWork(now: .now)
        checkDeadlines(now: .now)
    }

    /// When there is something to do though nothing is ready; `zero` for at once.
    private func deadline(_ data: MonotonicTime?) -> MonotonicTime? {
        var deadlines = [data]
        if isBlocked {
            // The session's own times stand still: it is the peer's answers that are not read.
            deadlines.append(isBlockedSince.map { $0 + Self.blockedTimeMax } ?? .zero)
        } else if isBlockedSince != nil {
            // There is room again for what has waited.
            return .zero
        } else {
            deadlines.append(session.deadline)
        }
        return deadlines.compactMap { $0 }.min()
    }

    private mutating func checkDeadlines(now: MonotonicTime) {
        if let isBlockedSince, isBlocked, now >= isBlockedSince + Self.blockedTimeMax {
            end("the peer reads no answers")
        }
    }

    private mutating func read() throws {
        switch try channel.receive(into: &input) {
        case nil: break
        case 0: end("the peer closed the connection")
        case let count?:
            hasHeard = true
            session.receive(input[..<count], now: .now)
        }
    }

    private mutating func write() throws {
        guard !output.isEmpty else { return }
        output.removeFirst(try channel.send(output[...]))
    }

    private mutating func proceed() {
        if !isLoggedIn, slot?.canLogIn == false {
            session.loginRefusal = ClientRefusal.clientLimit.text
        } else {
            session.loginRefusal = nil
        }
        while endReason == nil, !isBlocked,
            let action = session.nextAction(now: .now)
        {
            // The reply to the login is still to be sent.
            if !isLoggedIn, session.isLoggedIn, !logIn() { continue }
            carryOut(action)
        }
        isBlockedSince = isBlocked ? isBlockedSince ?? .now : nil
    }

    /// Records that the peer logged in: from now on a feed goes to the client's address.
    ///
    /// - Returns: False if there is no place for it any more.
    private mutating func logIn() -> Bool {
        switch slot?.logIn() {
        case .refused:
            session.loginRefusal = ClientRefusal.clientLimit.text
            session.withdrawLogin(ClientRefusal.clientLimit.text)
            return false
        case .admitted(isOtherEvicted: true): context.status.clientsEvicted.add(.withoutCapture)
        case .admitted, nil: break
        }
        isLoggedIn = true
        if mode == .passive {
            context.feed.addClient(channel.peer.address)
            // What has failed before is over for a client that logs in.
            past.gate.open()
        }
        return true
    }

    /// Ends the session of a client that has to make room for another one, and tells it so.
    ///
    /// Its place is waited for, so nobody waits until it has read that.
    private mutating func leave() {
        let text = (isLoggedIn ? ClientEviction.withoutCapture : .notLoggedIn).text
        output += Message.error(.network, text)
        _ = try? channel.send(output[...])
        channel.endSending()
        _ = try? discardReceived(from: channel.fileDescriptor)
        endHere(text)
    }

    private mutating func carryOut(_ action: ServerSession.Action) {
        switch action {
        case .send(let bytes): output += bytes
        case .checkPassword(let user, let password):
            let verdict = context.verify(user, password, from: channel.peer.address)
            let outcome = verdict.outcome
            if outcome != .right { context.status.loginsRefused.add(outcome) }
            loginLogger.info(
                "\(outcome.text)",
                metadata: ["user": "\(String(decoding: user.prefix(64), as: UTF8.self))"])
            if let refusal = verdict.refusal {
                session.passwordNotChecked(refusal, now: .now)
            } else {
                session.passwordChecked(isRight: outcome == .right, now: .now)
            }
        case .listDevices:
            session.devicesListed(context.feed.node.devices(context.settings, mode))
        case .open(let name):
            if context.feed.node.scope(ofDevice: name, context.settings) != nil {
                session.deviceOpened()
            } else {
                session.deviceRefused(
                    "there is no such device; list the devices to see their names")
            }
        case .startCapture(let request): start(request)
        case .updateFilter(let instructions): update(instructions)
        case .sample(let sampling): sample(sampling)
        case .reportStatistics: session.report(refreshStatistics())
        case .endCapture:
            if capture != nil { noteWork() }
            endCapture()
            session.captureEnded()
        case .note(let text, let said):
            logger.notice("\(text)", metadata: said.map { ["reason": "\($0)"] })
        case .close(let reason):
            if reason == session.loginRefusal { context.status.clientsRefused.add(.clientLimit) }
            sendRest()
            end(reason)
        }
    }

    /// Sends what is still to be sent before the connection is closed, and waits until the peer has
    /// read it, for a second at most.
    private mutating func sendRest() {
        guard !output.isEmpty else { return }
        let deadline = MonotonicTime.now + Self.farewellTime
        var hasEnded = false
        while .now < deadline {
            if !output.isEmpty {
                guard let count = try? channel.send(output[...]) else { return }
                output.removeFirst(count)
            }
            if output.isEmpty, !hasEnded {
                channel.endSending()
                hasEnded = true
            }
            let interest: Readiness = hasEnded ? .readable : [.readable, .writable]
            let ready = try? poll(
                [
                    Awaited.control: (channel.fileDescriptor, interest),
                    .stop: (context.stop.fileDescriptor, .readable),
                    .eviction: (evictionDescriptor, .readable),
                ], until: .now + .milliseconds(100))
            guard let ready, ready[.stop].isEmpty, ready[.eviction].isEmpty else { return }
            guard ready[.control].contains(.readable) else { continue }
            guard (try? discardReceived(from: channel.fileDescriptor)) == true else { return }
        }
    }
}
