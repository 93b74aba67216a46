import Metrics
import Settings
import Addressing
import Glibc
import Linux
import Log
import Logging
import RPCAP
import Security

/// Lets clients dial the agent, and serves each with a session on a thread of its own.
///
/// Peers that may not dial, and those who are too many, are told so and sent away. They cost a
/// descriptor for a moment, and the log no more than a line per second.
struct ClientListener: ~Copyable {
    private let context: AgentContext
    private let settings: PassiveSettings
    private let listener: Listener
    private let logger: Logger
    private let slots: ClientSlots
    private var leaving: [Leaving] = []
    private var lastRefusal: UInt64 = 0
    private var failure = FailureLogThrottle()
    private var silentRefusalCount = 0

    /// Refused peers that have not read the reason yet.
    private static let leavingCountMax = 32
    /// How long one has to read it: closed at once, its connection would take the reason with it.
    private static let leavingNanosecondsMax: UInt64 = 1_000_000_000
    private static let refusalNanosecondsMin: UInt64 = 1_000_000_000
    /// How long to wait where no connection can be taken, out of descriptors for instance.
    private static let retryMilliseconds: CInt = 1000

    /// Listens from now on; clients are served when `run` is.
    init(
        _ context: AgentContext, _ settings: PassiveSettings, logger: Logger
    ) throws(SystemError) {
        let slots = try ClientSlots()
        let listener = try Listener(at: settings.listen)
        logger.info(
            "clients are listened for",
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
        self.slots = slots
        self.listener = listener
    }

    /// Serves clients until the agent stops, and then until their sessions have ended.
    mutating func run() {
        nameThread("podwire-listen")
        let pulse = context.status.pulses.begin("the listener for clients")
        context.status.isListening.set(true)
        while !context.isStopping(milliseconds: 0) {
            var requests: [(fileDescriptor: CInt, interest: Readiness)] = [
                (context.stop.fileDescriptor, .readable), (listener.fileDescriptor, .readable),
            ]
            for peer in leaving { requests.append((peer.number, .readable)) }
            pulse.beat()
            let wait = leaving.isEmpty ? Watchdog.waitMilliseconds : 100
            guard let ready = try? poll(requests, milliseconds: wait) else { continue }
            seeOff(ready.dropFirst(2).map { !$0.isEmpty })
            if ready[1].contains(.readable) { accept() }
        }
        context.status.isListening.set(false)
        leaving = []
        slots.waitForNone()
    }

    private mutating func accept() {
        do throws(SystemError) {
            guard let connection = try listener.accept() else { return }
            _ = failure.recordSuccess()
            let peer = connection.peer.address
            if !settings.allows(peer) {
                refuse(connection, .hostNotAllowed, "this address is not in the allow list")
            } else if let slot = try slots.admit(peer) {
                serve(connection, slot)
            } else {
                refuse(
                    connection, .network,
                    """
                    \(ClientSlots.strangerCountMaxPerAddress) connections from this address have not \
                    logged in yet
                    """)
            }
        } catch {
            if let metadata = failure.recordFailure("\(error)", now: .now) {
                logger.warning("client not accepted", metadata: metadata)
            }
            _ = context.isStopping(milliseconds: Self.retryMilliseconds)
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
            let handover = (TransferBox(connection), TransferBox(slot))
            try Thread { [logger] in
                nameThread("podwire-client")
                guard let connection = handover.0.take(), let slot = handover.1.take() else {
                    return
                }
                ControlSession.serve(context, connection, status, slot, logger: logger)
            }.detach()
        } catch {
            logger.warning("client not served", metadata: ["reason": "\(error)"])
        }
    }
}

extension ClientListener {
    /// A connection that will be closed when its peer has read why, or a second is over.
    private final class Leaving {
        let connection: Connection
        let deadline: UInt64

        init(_ connection: consuming Connection, deadline: UInt64) {
            self.connection = connection
            self.deadline = deadline
        }

        var number: CInt { connection.fileDescriptor }
    }

    private mutating func refuse(
        _ connection: consuming Connection, _ code: ErrorCode, _ text: String
    ) {
        context.status.clientsRefused.add()
        report(connection.peer, text)
        guard leaving.count < Self.leavingCountMax else { return }
        guard (try? connection.send(Message.error(code, text)[...])) != nil else { return }
        connection.endSending()
        leaving.append(
            Leaving(connection, deadline: monotonicNanoseconds() + Self.leavingNanosecondsMax))
    }

    /// Lets go of those who have hung up, or have had their time.
    private mutating func seeOff(_ areReadable: [Bool]) {
        let now = monotonicNanoseconds()
        var index = 0
        leaving.removeAll { peer in
            defer { index += 1 }
            let hasLeft =
                areReadable[index] && (try? discardReceived(from: peer.number)) != true
            return hasLeft || now >= peer.deadline
        }
    }

    private mutating func report(_ peer: SocketAddress, _ text: String) {
        let now = monotonicNanoseconds()
        guard now >= lastRefusal + Self.refusalNanosecondsMin else {
            return silentRefusalCount += 1
        }
        lastRefusal = now
        logger.warning(
            "client refused",
            metadata: [
                "client": "\(peer)", "reason": "\(text)",
                "refused_since_last": .number(silentRefusalCount),
            ])
        silentRefusalCount = 0
    }
}
