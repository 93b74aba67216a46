import Addressing
import Edges
import Forwarding
import Linux
import Log
import Logging
import Metrics
import RPCAP
import Security
import Settings
import Synchronization
import Taps
import Time

/// The state that all sessions of an agent share.
final class SessionContext: Sendable {
    let settings: Settings
    let feed: NodePublisher
    let status: AgentStatus
    /// Whether calls to services are looked up in connection tracking.
    let tracksConnections: Bool
    /// The users that can log in by a password; nil if nobody can.
    let users: UserFile?
    private let loginGuard: LoginGuard?
    /// Nil if no connection is over TLS.
    private let tls: TLSServer?
    /// The throttles of clients' lines, by their addresses.
    let clientLines = Mutex(PeerLogTable())
    /// Opens sockets inside pods; nil if all edges are captured at the host's ends.
    let podSockets: PodSockets?
    /// The captures of all sessions.
    let captures: CaptureHub
    /// The filter of all captures.
    let filter: AgentFilter
    /// The memory of all captures' rings.
    let ringMemory: RingMemory
    /// Given when the agent is to stop.
    let stop: StopSignal
    /// The time whose frames all captures forward.
    let span = ForwardingSpan()
    private let logger: Logger

    /// Reads the files that the settings name.
    ///
    /// - Throws: What is wrong with a file.
    init(
        _ settings: Settings, _ feed: NodePublisher, _ status: AgentStatus, tracksConnections: Bool,
        logger: Logger
    ) throws {
        self.settings = settings
        self.feed = feed
        self.status = status
        self.tracksConnections = tracksConnections
        ringMemory = RingMemory(
            byteCountMax: settings.capture.ringByteCountMax, hasSensors: !settings.sensors.isEmpty)
        self.logger = LimitedLogHandler.limiting(logger)
        filter = try AgentFilter(settings.capture.selection, logger: self.logger)
        users = try settings.passive?.passwordFile.map { path throws(UserFile.Failure) in
            try UserFile(path)
        }
        loginGuard = users.map { LoginGuard($0) }
        tls = try settings.tls.map { files throws(TLSFailure) in
            try TLSServer(certificate: files.certificate, key: files.key)
        }
        podSockets =
            !settings.taps.needsOpener
            ? nil
            : PodSockets(PodSocketClient(path: settings.taps.opener), logger: self.logger) {
                status.tapsFailed.add($0)
            }
        captures = CaptureHub(status.watchdog, logger: self.logger)
        stop = try StopSignal()
        logReloadEvents()
    }

    /// The logins that can succeed.
    ///
    /// A sensor that the agent dialled need not say who it is.
    func logins(_ mode: ServerSession.Mode) -> ServerSession.Logins {
        let allowsNull = mode == .active || settings.passive?.allowsNullLogin == true
        return ServerSession.Logins(allowsNull ? [.null] : [])
            .union(users == nil ? [] : .password)
    }

    /// Whether a login from the network of this address was right before.
    func isKnown(_ address: IPAddress) -> Bool { loginGuard?.isKnown(address) ?? false }

    /// Checks a login.
    ///
    /// Takes a tenth of a second, and as long again for each of the few others that may wait.
    func verify(
        _ user: [UInt8], _ password: [UInt8], from address: IPAddress
    ) -> LoginGuard.Verdict {
        defer { logReloadEvents() }
        return loginGuard?.verify(
            user: user, password: password, from: address, now: .now)
            ?? LoginGuard.Verdict(outcome: .wrong)
    }

    /// Why a sensor is left that is there.
    var revocationReason: String {
        status.isCeded.isSet
            ? "another agent of this node has taken over" : "this node feeds another sensor"
    }

    /// Logs that files were read again after a change, or could not be.
    func logReloadEvents() {
        for event in (users?.takeReloadEvents() ?? []) + (tls?.takeReloadEvents() ?? []) {
            logger.log(level: event.isWarning ? .warning : .info, "\(event)")
        }
    }
}

/// The end of a client that has not logged in and has to make room for another one.
struct Eviction: Error, CustomStringConvertible {
    var description: String { ClientEviction.notLoggedIn.text }
}

/// Control connections over TLS.
extension SessionContext {
    /// The time for a handshake.
    ///
    /// The agent is the TLS server even if it dialled, so the peer begins.
    private static let handshakeTimeout = Duration.seconds(10)

    /// The TLS server for sessions of this mode; nil if they are plain.
    func tls(for mode: ServerSession.Mode) -> TLSServer? {
        settings.tls?.modes.contains(mode) == true ? tls : nil
    }

    /// Opens the channel of a session: the connection itself, or TLS over it within 10 s.
    ///
    /// A peer that does not begin with TLS is told so in plain text.
    ///
    /// - Throws: What prevented TLS.
    ///
    /// - Parameters:
    ///   - connection: The connection.
    ///   - mode: The mode of the session.
    ///   - eviction: A descriptor that is readable when the peer has to go; negative for none.
    /// - Returns: The channel.
    func channel(
        over connection: consuming Connection, for mode: ServerSession.Mode, eviction: CInt
    ) throws -> Channel {
        guard let tls = tls(for: mode) else { return Channel(connection) }
        do {
            return try channel(over: connection, tls, mode, eviction)
        } catch let error as Eviction {
            throw error
        } catch {
            status.handshakesFailed.add()
            throw error
        }
    }

    private func channel(
        over connection: consuming Connection, _ tls: TLSServer, _ mode: ServerSession.Mode,
        _ eviction: CInt
    ) throws -> Channel {
        let deadline = MonotonicTime.now + Self.handshakeTimeout
        do {
            try wait(for: connection.fileDescriptor, .readable, or: eviction, until: deadline)
        } catch let error as Eviction {
            // Before TLS begins a refusal is plain.
            try connection.refuse(.network, "\(error)")
            _ = try discardReceived(from: connection.fileDescriptor)
            throw error
        }
        if let first = connection.peek(byteCountMax: 1)?.first, first != ServerSession.tlsHandshake
        {
            try connection.refuse(.needsTLS, SessionRemedy.needsTLS(mode))
            _ = try? poll([(connection.fileDescriptor, .readable)], milliseconds: 100)
            throw TLSFailure.notTLS()
        }
        var secure = try tls.accept(connection)
        logReloadEvents()
        while let readiness = try secure.handshake() {
            try wait(for: secure.fileDescriptor, readiness, or: eviction, until: deadline)
        }
        return Channel(secure)
    }

    private func wait(
        for fileDescriptor: CInt, _ readiness: Readiness, or eviction: CInt,
        until deadline: MonotonicTime
    ) throws {
        let ready = try poll(
            [
                Awaited.peer: (fileDescriptor, readiness),
                .stop: (stop.fileDescriptor, .readable), .eviction: (eviction, .readable),
            ], until: deadline)
        guard ready[.stop].isEmpty else { throw SystemError("TLS handshake", .canceled) }
        guard ready[.eviction].isEmpty else { throw Eviction() }
        guard !ready.isEmpty else { throw SystemError("TLS handshake", .timedOut) }
    }

    private enum Awaited { case peer, stop, eviction }
}
