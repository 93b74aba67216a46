import Forwarding
import Linux
import Security

/// A data connection that is not there yet: one side has to connect, the client may have to agree on
/// TLS, or both.
struct AwaitedData: ~Copyable {
    /// Who connects, if that has not happened. A listener stays until the handshake is done: whoever
    /// connects from the client's host and speaks no TLS must not take its place.
    private var listener: Listener?
    private var connecting: PendingConnection?
    private var handshake: TLSConnection?
    /// For a poll set, with `interest`.
    private(set) var number: CInt
    private(set) var interest = Readiness.readable
    let deadline: UInt64

    /// libpcap's daemon waits for ever, and without serving the control connection.
    private static let nanosecondsMax: UInt64 = 10_000_000_000

    /// Waits for the client to connect.
    init(_ listener: consuming Listener) {
        number = listener.fileDescriptor
        deadline = monotonicNanoseconds() + Self.nanosecondsMax
        self.listener = .some(listener)
    }

    /// Waits for the peer's data port to answer.
    init(_ connecting: consuming PendingConnection) {
        number = connecting.fileDescriptor
        interest = .writable
        deadline = monotonicNanoseconds() + Self.nanosecondsMax
        self.connecting = .some(connecting)
    }

    /// Waits for the client to begin with TLS.
    init(handshake: consuming TLSConnection) {
        number = handshake.fileDescriptor
        deadline = monotonicNanoseconds() + Self.nanosecondsMax
        self.handshake = .some(handshake)
    }

    /// The connection to the peer's data port, when `number` is ready; or what prevented it. Nil if
    /// this side does not connect.
    mutating func finishConnecting() throws(SystemError) -> Connection? {
        guard let connecting = connecting.take() else { return nil }
        let connection = try connecting.finish()
        try connection.watchPeer()
        return connection
    }

    /// Goes on when `number` is ready, and answers where packets can go when all is done. Whoever
    /// connects and is not the control connection's peer is sent away.
    mutating func proceed(peer: SocketAddress, tls: TLSServer?) throws -> sending DataConnection? {
        if handshake == nil, let connection = try listener?.accept() {
            guard connection.peer.address == peer.address else { return nil }
            try connection.watchPeer()
            guard let tls else { return .stream(connection.intoDescriptor()) }
            number = connection.fileDescriptor
            handshake = .some(try tls.accept(connection))
        }
        guard var secure = handshake.take() else { return nil }
        do throws(TLSFailure) {
            guard let readiness = try secure.handshake() else {
                return .secure(SecureStream(secure))
            }
            interest = readiness
            handshake = .some(secure)
        } catch {
            guard let listening = listener?.fileDescriptor else { throw error }
            (number, interest) = (listening, .readable)
        }
        return nil
    }
}
