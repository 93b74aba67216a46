import Edges
import Metrics
import Forwarding
import BPF
import Addressing
import Glibc
import Linux
import Logging
import RPCAP
import Settings
import Security

/// One session with a sensor or a client: a control connection, and while the peer wants it, a
/// capture.
///
/// It belongs to a thread of its own. The capture has threads, too, so that the peer gets its
/// answers while packets flow; and no peer waits for another.
struct ControlSession: ~Copyable {
    let context: AgentContext
    let mode: ServerSession.Mode
    let status: PeerStatus
    let logger: Logger
    var session: ServerSession
    var capture: LiveCapture?
    /// The data connection of a capture that has begun, as long as it is not there.
    var awaitedData: AwaitedData?
    var filter: Program?
    /// The start request that waits for the connection to its data port.
    var pendingStart: PendingStart?
    private var channel: Channel
    /// A client's place among the others; nil for a sensor.
    private var slot: ClientSlot?
    private var isLoggedIn = false
    private var output: [UInt8] = []
    /// Since when the peer has not read enough of it for more to be asked.
    private var isBlockedSince: UInt64?
    /// When the capture ended by itself.
    private var captureEndedAt: UInt64?
    private var input: [UInt8]
    private var endReason: String?

    /// Beyond so many bytes of answers that the peer has not read, its requests wait. The longest
    /// answer is a list, 60,000 bytes.
    private static let outputByteCountMax = 64 << 10
    /// A peer that asks for so much has this long to read it.
    private static let blockedNanosecondsMax: UInt64 = 10_000_000_000
    private static let readByteCount = 16 << 10
    /// How long a peer that is dropped has to read why: closed at once, its connection would take the
    /// reason with it.
    private static let farewellMillisecondsMax: CInt = 1000
    /// When the data connection ends, the request that explains it may be on its way.
    private static let captureEndNanosecondsMax: UInt64 = 300_000_000

    private init(
        _ context: AgentContext, _ mode: ServerSession.Mode, _ channel: consuming Channel,
        _ status: PeerStatus, _ slot: consuming ClientSlot?, logger: Logger
    ) {
        self.context = context
        self.mode = mode
        self.status = status
        self.logger = logger
        self.channel = channel
        self.slot = slot
        session = ServerSession(mode, logins: context.logins(mode), now: monotonicNanoseconds())
        input = [UInt8](repeating: 0, count: Self.readByteCount)
    }

    var local: SocketAddress { channel.local }
    var peer: SocketAddress { channel.peer }

    /// Serves a sensor that has been dialled, or with a slot a client that has dialled, until one side
    /// ends the session. When the agent stops, what is captured is forwarded first, for at most a
    /// second.
    static func serve(
        _ context: AgentContext, _ connection: consuming Connection, _ status: PeerStatus,
        _ slot: consuming ClientSlot? = nil, logger: Logger
    ) {
        let mode: ServerSession.Mode = slot == nil ? .active : .passive
        let who = mode == .active ? "sensor" : "client"
        var metadata: Logger.Metadata = ["local": "\(connection.local)"]
        // A client goes by its address anyway.
        if mode == .active { metadata["peer"] = "\(connection.peer)" }
        logger.info("\(who) connected", metadata: metadata)
        let reason: String
        do {
            let channel = try context.channel(over: connection, for: mode)
            var session = ControlSession(context, mode, channel, status, slot, logger: logger)
            status.sessionBegins()
            reason = session.run()
            status.sessionEnds(reason)
        } catch {
            reason = "\(error)"
            status.connectionFails(reason)
        }
        logger.info("\(who) session ended", metadata: ["reason": "\(reason)"])
    }

    private mutating func run() -> String {
        let pulse = context.status.pulses.begin("the session of \(status.name)")
        while endReason == nil {
            pulse.beat()
            do {
                try turn()
            } catch {
                end("\(error)")
            }
        }
        endCapture()
        if mode == .passive, isLoggedIn { context.feed.removeClient(peer.address) }
        return endReason ?? "ended"
    }

    /// Ends the session, for the first of the reasons that are given.
    mutating func end(_ reason: String) {
        if endReason == nil { endReason = reason }
    }

    private var isBlocked: Bool { output.count > Self.outputByteCountMax }

    /// Waits for whoever has something to say, and deals with it.
    private mutating func turn() throws {
        let wantsInput = session.wantsInput && !isBlocked
        let isBuffered = wantsInput && channel.hasBytesToReceive
        let deadline = isBuffered ? 0 : deadline(awaitedData?.deadline)
        let ready = try poll(
            [
                (channel.fileDescriptor, channel.interest(wantsInput, hasOutput: !output.isEmpty)),
                (context.stop.fileDescriptor, .readable),
                (captureEndedAt == nil ? capture?.endedFileDescriptor ?? -1 : -1, .readable),
                (awaitedData?.number ?? -1, awaitedData?.interest ?? []),
                (slot?.evictedNumber ?? -1, .readable),
            ], milliseconds: Self.milliseconds(until: deadline))
        if ready[1].contains(.readable) { return end("the agent stops") }
        if ready[4].contains(.readable), !isLoggedIn {
            return end("it has not logged in, and another one wants to")
        }
        if ready[2].contains(.readable) { captureEndedAt = monotonicNanoseconds() }
        try attendToData(isReady: !ready[3].isEmpty)
        let hasFailed = !ready[0].isDisjoint(with: .failed)
        if isBuffered || hasFailed || wantsInput && !ready[0].isEmpty { try read() }
        proceed()
        try write()
        checkDeadlines()
    }

    /// When there is something to do though nothing is ready; 0 for at once.
    private func deadline(_ data: UInt64?) -> UInt64? {
        var deadlines = [data, captureEndedAt.map { $0 + Self.captureEndNanosecondsMax }]
        if isBlocked {
            // The session's own times stand still: it is the peer's answers that are not read.
            deadlines.append(isBlockedSince.map { $0 + Self.blockedNanosecondsMax } ?? 0)
        } else if isBlockedSince != nil {
            // There is room again for what has waited.
            return 0
        } else {
            deadlines.append(session.deadline)
        }
        return deadlines.compactMap { $0 }.min()
    }

    private mutating func checkDeadlines() {
        let now = monotonicNanoseconds()
        if let captureEndedAt, capture != nil {
            guard now >= captureEndedAt + Self.captureEndNanosecondsMax else { return }
            end(capture?.endReason ?? "the capture ended")
        } else {
            captureEndedAt = nil
        }
        if let isBlockedSince, isBlocked, now >= isBlockedSince + Self.blockedNanosecondsMax {
            end("the peer reads no answers")
        }
    }

    /// From now on, as `poll` takes it, and not longer than loops may wait.
    private static func milliseconds(until deadline: UInt64?) -> CInt {
        guard let deadline else { return Watchdog.waitMilliseconds }
        let now = monotonicNanoseconds()
        guard deadline > now else { return 0 }
        return min(Watchdog.waitMilliseconds, CInt(clamping: (deadline - now) / 1_000_000 + 1))
    }

    private mutating func read() throws {
        switch try channel.receive(into: &input) {
        case nil: break
        case 0: end("the peer closed the connection")
        case let count?: session.receive(input[..<count], now: monotonicNanoseconds())
        }
    }

    private mutating func write() throws {
        guard !output.isEmpty else { return }
        output.removeFirst(try channel.send(output[...]))
    }

    private mutating func proceed() {
        if !isLoggedIn, slot?.isFull == true {
            session.loginRefusal = "there are \(PassiveSettings.clientCountMax) clients already"
        } else {
            session.loginRefusal = nil
        }
        while endReason == nil, !isBlocked,
            let action = session.nextAction(now: monotonicNanoseconds())
        {
            carryOut(action)
            if !isLoggedIn, session.isLoggedIn { logIn() }
        }
        isBlockedSince = isBlocked ? isBlockedSince ?? monotonicNanoseconds() : nil
    }

    /// From now on the client's address is where a feed goes.
    private mutating func logIn() {
        isLoggedIn = true
        guard mode == .passive else { return }
        if slot?.logIn() == false { end("there are too many clients") }
        context.feed.addClient(peer.address)
    }

    private mutating func carryOut(_ action: ServerSession.Action) {
        switch action {
        case .send(let bytes): output += bytes
        case .checkPassword(let user, let password):
            let outcome = context.verify(user, password, from: peer.address)
            if outcome != .right { context.status.loginsRefused.add() }
            logger.info(
                "\(outcome.text)",
                metadata: ["user": "\(String(decoding: user.prefix(64), as: UTF8.self))"])
            session.passwordChecked(isRight: outcome == .right, now: monotonicNanoseconds())
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
        case .reportStatistics: session.report(statistics())
        case .endCapture:
            endCapture()
            session.captureEnded()
        case .note(let text, let said):
            logger.notice("\(text)", metadata: said.map { ["reason": "\($0)"] })
        case .close(let reason):
            sayFarewell()
            end(reason)
        }
    }

    /// Has the peer read what explains the end, if there is anything.
    private mutating func sayFarewell() {
        guard !output.isEmpty else { return }
        let deadline = monotonicNanoseconds() + UInt64(Self.farewellMillisecondsMax) * 1_000_000
        var hasEnded = false
        while monotonicNanoseconds() < deadline {
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
                [(channel.fileDescriptor, interest), (context.stop.fileDescriptor, .readable)],
                milliseconds: 100)
            guard let ready, ready[1].isEmpty else { return }
            guard ready[0].contains(.readable) else { continue }
            guard (try? discardReceived(from: channel.fileDescriptor)) == true else { return }
        }
    }
}
