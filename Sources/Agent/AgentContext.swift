import Metrics
import Edges
import Settings
import Addressing
import Glibc
import Linux
import Log
import Logging
import RPCAP
import Security

/// What the sessions of an agent share.
final class AgentContext: Sendable {
    let settings: Settings
    let feed: NodePublisher
    let status: AgentStatus
    /// Whether calls to services are looked up in connection tracking.
    let tracksConnections: Bool
    /// Who may log in by a password; nil for nobody.
    let users: UserFile?
    private let loginGuard: LoginGuard?
    /// Nil if no connection is over TLS.
    private let tls: TLSServer?
    /// Raised once, when the agent is to stop.
    let stop: Event
    private let logger: Logger

    /// Reads the files that the settings name.
    init(
        _ settings: Settings, _ feed: NodePublisher, _ status: AgentStatus, tracksConnections: Bool,
        logger: Logger
    ) throws {
        self.settings = settings
        self.feed = feed
        self.status = status
        self.tracksConnections = tracksConnections
        self.logger = LimitedLogHandler.limiting(logger)
        users = try settings.passive?.passwordFile.map { path throws(UserFile.Failure) in
            try UserFile(path)
        }
        loginGuard = users.map { LoginGuard($0) }
        tls = try settings.tls.map { files throws(TLSFailure) in
            try TLSServer(certificate: files.certificate, key: files.key)
        }
        stop = try Event()
        logReloadEvents()
    }

    /// Waits for so long, and answers whether the agent is to stop; at once if it is.
    func isStopping(milliseconds: CInt) -> Bool {
        let ready = try? poll([(stop.fileDescriptor, .readable)], milliseconds: milliseconds)
        return ready?[0].contains(.readable) ?? true
    }

    /// Which logins can succeed: a sensor that the agent has dialled need not say who it is.
    func logins(_ mode: ServerSession.Mode) -> ServerSession.Logins {
        let allowsNull = mode == .active || settings.passive?.allowsNullLogin == true
        return ServerSession.Logins(allowsNull ? [.null] : [])
            .union(users == nil ? [] : .password)
    }

    /// Whether these are the name and the password of a user, and the address may say so now. Takes a
    /// tenth of a second, and as long again for each other who is asking.
    func verify(
        _ user: [UInt8], _ password: [UInt8], from address: IPAddress
    ) -> LoginGuard.Outcome {
        defer { logReloadEvents() }
        return loginGuard?.verify(
            user: user, password: password, from: address, now: monotonicNanoseconds()) ?? .wrong
    }

    /// Says in the log what has become of files that were changed.
    func logReloadEvents() {
        for event in (users?.takeReloadEvents() ?? []) + (tls?.takeReloadEvents() ?? []) {
            logger.log(level: event.isWarning ? .warning : .info, "\(event)")
        }
    }
}

/// Control connections over TLS.
extension AgentContext {
    /// The agent is the server of TLS also where it has dialled, so the peer begins.
    private static let tlsMillisecondsMax = 10_000

    /// What sessions of this mode speak TLS with; nil if they are plain.
    func tls(for mode: ServerSession.Mode) -> TLSServer? {
        settings.tls?.modes.contains(mode) == true ? tls : nil
    }

    /// What a session speaks over: the connection itself, or TLS with the peer within 10 s. A peer that
    /// does not begin with TLS is told so in plain text.
    func channel(
        over connection: consuming Connection, for mode: ServerSession.Mode
    ) throws -> Channel {
        guard let tls = tls(for: mode) else { return Channel(connection) }
        do {
            return try channel(over: connection, tls)
        } catch {
            status.handshakesFailed.add()
            throw error
        }
    }

    private func channel(
        over connection: consuming Connection, _ tls: TLSServer
    ) throws -> Channel {
        let deadline = monotonicNanoseconds() + UInt64(Self.tlsMillisecondsMax) * 1_000_000
        try wait(for: connection.fileDescriptor, .readable, until: deadline)
        if let first = connection.peek(), first != ServerSession.tlsHandshake {
            let text = "this agent speaks TLS only: use rpcaps"
            _ = try connection.send(Message.error(.needsTLS, text)[...])
            connection.endSending()
            _ = try? poll([(connection.fileDescriptor, .readable)], milliseconds: 100)
            throw TLSFailure.notTLS
        }
        var secure = try tls.accept(connection)
        logReloadEvents()
        while let readiness = try secure.handshake() {
            try wait(for: secure.fileDescriptor, readiness, until: deadline)
        }
        return Channel(secure)
    }

    private func wait(
        for number: CInt, _ readiness: Readiness, until deadline: UInt64
    ) throws(SystemError) {
        let now = monotonicNanoseconds()
        guard now < deadline else { throw SystemError("TLS handshake", .timedOut) }
        let ready = try poll(
            [(number, readiness), (stop.fileDescriptor, .readable)],
            milliseconds: CInt((deadline - now) / 1_000_000 + 1))
        guard ready[1].isEmpty else { throw SystemError("TLS handshake", .canceled) }
    }
}
