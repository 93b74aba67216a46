import Addressing
import Glibc
import Linux
import Log
import Logging
import Metrics
import RPCAP
import Security
import Settings
import Synchronization
import Time

/// The listener for clients, which serves each with a session on a thread of its own.
///
/// Peers that may not connect, or are too many, are told so and sent away. They cost a descriptor for a
/// moment, and the log a line a second at most.
struct ClientListener: ~Copyable {
    private let context: SessionContext
    private let settings: PassiveSettings
    private let listener: Listener
    /// The log of lines that clients cause, however many they are.
    private let logger: Logger
    /// The log of lines that are few by themselves, and that a flood of others must not suppress.
    private let ownLogger: Logger
    private let slots: ClientSlots
    private var leaving: [Leaving] = []
    private var lastRefusal: MonotonicTime?
    private var failure = FailureLogThrottle()
    private var silentRefusalCount = 0
    /// The throttles of the lines about clients that are refused, by their addresses.
    private var refusals = PeerLogTable()

    /// The most refused peers that have not read the reason yet.
    private static let leavingCountMax = 32
    /// The time to read it: closed at once, the connection would take the reason with it.
    private static let leavingTime = Duration.seconds(1)
    private static let refusalInterval = Duration.seconds(1)
    /// The wait after a failure to accept, for instance because there are no descriptors.
    private static let retryInterval = Duration.seconds(1)
    /// The connections that wait in the kernel to be accepted.
    ///
    /// The kernel drops what comes beyond, and a client comes again after a second only. Waiting
    /// costs no descriptor.
    private static let backlog: CInt = 1024
    /// The most connections accepted between two looks at everything else.
    private static let acceptCountPerTurn = 16

    /// Listens from now on.
    ///
    /// Clients are served when `run` is called.
    init(
        _ context: SessionContext, _ settings: PassiveSettings, logger: Logger
    ) throws(SystemError) {
        let slots = try ClientSlots()
        let listener = try Listener(at: settings.listen, backlog: Self.backlog)
        logger.info(
            "listening for clients",
            metadata: [
                "address": "\(listener.local)", "users": .number(context.users?.count ?? 0),
                "null_login": settings.allowsNullLogin ? "allowed" : "refused",
                "allow": settings.allowed.isEmpty
                    ? "anywhere" : "\(settings.allowed.map(\.description).joined(separator: ","))",
                "tls": context.tls(for: .passive) == nil ? "off" : "on",
            ])
        self.context = context
        self.settings = settings
        self.logger = LimitedLogHandler.limiting(logger)
        ownLogger = logger
        self.slots = slots
        self.listener = listener
    }

    /// Serves clients until the agent stops, and then until their sessions have ended.
    mutating func run() {
        nameThread("podwire-listen")
        let heartbeat = context.status.watchdog.begin("the listener for clients")
        context.status.isListening.set(true)
        while !context.stop.isGiven {
            heartbeat.beat()
            var requests: [Awaited: (fileDescriptor: CInt, interest: Readiness)] = [
                .stop: (context.stop.fileDescriptor, .readable),
                .client: (listener.fileDescriptor, .readable),
            ]
            for (index, peer) in leaving.enumerated() {
                requests[.leaving(index)] = (peer.fileDescriptor, .readable)
            }
            let wait = leaving.isEmpty ? Watchdog.waitMax : .milliseconds(100)
            guard let ready = try? poll(requests, until: .now + wait) else { continue }
            closeLeaving(ready, now: .now)
            guard !ready[.client].isEmpty else { continue }
            for _ in 0..<Self.acceptCountPerTurn { guard accept() else { break } }
        }
        context.status.isListening.set(false)
        leaving = []
        slots.waitForNone()
    }

    private enum Awaited: Hashable {
        case stop
        case client
        /// A refused peer, by its index in `leaving`.
        case leaving(Int)
    }

    /// Accepts a connection.
    ///
    /// - Returns: False if none waits, or it could not be accepted.
    private mutating func accept() -> Bool {
        do throws(SystemError) {
            guard let connection = try listener.accept() else { return false }
            _ = failure.recordSuccess()
            let peer = connection.peer.address
            guard settings.allows(peer) else {
                refuse(connection, .hostNotAllowed, for: .notAllowed)
                return true
            }
            switch try slots.admit(peer, isKnown: context.isKnown(peer), now: .now) {
            case .admitted(let slot, let isOtherEvicted):
                _ = refusals.recordSuccess("\(peer)")
                if isOtherEvicted { context.status.clientsEvicted.add(.notLoggedIn) }
                serve(connection, slot)
            case .refused(.networkLimit): refuse(connection, .network, for: .networkLimit)
            case .refused(.leavingLimit): refuse(connection, .network, for: .leavingLimit)
            }
            return true
        } catch {
            if let metadata = failure.recordFailure("\(error)", now: .now) {
                ownLogger.warning("client not accepted", metadata: metadata)
            }
            _ = context.stop.wait(for: Self.retryInterval)
            return false
        }
    }

    private func serve(_ connection: consuming Connection, _ slot: consuming ClientSlot) {
        guard let status = context.status.clients else { return }
        let (context, peer) = (context, connection.peer)
        var logger = logger
        logger[metadataKey: "client"] = "\(peer)"
        do throws(SystemError) {
            try connection.watchPeer()
            try connection.sendAtOnce()
            let begin = MonotonicTime.now
            let name = "\(peer.address)"
            // An address whose sessions fail has a line for that now and then.
            let lines = context.clientLines.withLock { $0.throttle(of: name) }
            logger.log(
                level: lines.isFailing ? .debug : .info, "client connected",
                metadata: ["local": "\(connection.local)"])
            let handover = (TransferBox(connection), TransferBox(slot))
            try Thread { [logger] in
                nameThread("podwire-client")
                guard let connection = handover.0.take(), let slot = handover.1.take() else {
                    return
                }
                let end = ControlSession.serve(
                    context, connection, status, slot, past: SessionPast(lines), logger: logger)
                context.clientLines.withLock { lines in
                    end.log(as: "client session ended", of: name, in: &lines, since: begin, logger)
                }
            }.detach()
        } catch {
            logger.warning("client not served", metadata: ["reason": "\(error)"])
        }
    }
}

extension ClientListener {
    /// A connection that is closed when its peer has read why, or a second is over.
    private final class Leaving {
        let connection: Connection
        let deadline: MonotonicTime

        init(_ connection: consuming Connection, deadline: MonotonicTime) {
            self.connection = connection
            self.deadline = deadline
        }

        var fileDescriptor: CInt { connection.fileDescriptor }
    }

    private mutating func refuse(
        _ connection: consuming Connection, _ code: ErrorCode, for reason: ClientRefusal
    ) {
        let text = reason.text
        context.status.clientsRefused.add(reason)
        logRefusal(of: connection.peer, text, now: .now)
        guard (try? connection.refuse(code, text)) != nil else { return }
        // The one that has had most of its time makes room: each peer at least gets the text.
        if leaving.count >= Self.leavingCountMax { leaving.removeFirst() }
        leaving.append(Leaving(connection, deadline: .now + Self.leavingTime))
    }

    /// Closes the connections of refused peers that have hung up, or have had their time.
    private mutating func closeLeaving(_ ready: ReadyDescriptors<Awaited>, now: MonotonicTime) {
        leaving = leaving.enumerated().filter { index, peer in
            let hasLeft =
                !ready[.leaving(index)].isEmpty
                && (try? discardReceived(from: peer.fileDescriptor)) != true
            return !hasLeft && now < peer.deadline
        }.map(\.element)
    }

    private mutating func logRefusal(of peer: SocketAddress, _ reason: String, now: MonotonicTime) {
        let isCrowd = lastRefusal.map { now - $0 < Self.refusalInterval } ?? false
        let counts =
            isCrowd
            ? nil
            : refusals.update("\(peer.address)", now: now) {
                $0.recordUnreached(reason, now: now)
            }
        guard var metadata = counts else {
            silentRefusalCount += 1
            return
        }
        lastRefusal = now
        metadata["client"] = "\(peer)"
        metadata["refused_since_last"] = .number(silentRefusalCount)
        ownLogger.warning("client refused", metadata: metadata)
        silentRefusalCount = 0
    }
}
