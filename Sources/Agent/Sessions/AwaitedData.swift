import Kernel
import Trust

/// A data connection that is not there yet: the client has to connect, or to agree on TLS, or both.
struct AwaitedData: ~Copyable {
    private var listener: Listener?
    private var handshake: TLSConnection?
    /// For a poll set, with `interest`.
    private(set) var number: CInt
    private(set) var interest = Readiness.readable
    let deadline: UInt64

    /// libpcap's daemon waits for ever, and without serving the control connection.
    private static let nanosecondsMax: UInt64 = 10_000_000_000

    /// Waits for the client to connect.
    init(_ listener: consuming Listener) {
        number = listener.number
        deadline = monotonicNanoseconds() + Self.nanosecondsMax
        self.listener = .some(listener)
    }

    /// Waits for the client to begin with TLS.
    init(handshake: consuming TLSConnection) {
        number = handshake.number
        deadline = monotonicNanoseconds() + Self.nanosecondsMax
        self.handshake = .some(handshake)
    }

    /// Goes on when `number` is ready, and answers where packets can go when all is done. Whoever
    /// connects and is not the control connection's peer is sent away.
    mutating func proceed(peer: SocketAddress, tls: TLSServer?) throws -> sending Outlet? {
        if let connection = try listener?.accept() {
            guard connection.peer.address == peer.address else { return nil }
            try connection.watchPeer()
            listener = nil
            guard let tls else { return .stream(connection.intoDescriptor()) }
            number = connection.number
            handshake = .some(try tls.accept(connection))
        }
        guard var secure = handshake.take() else { return nil }
        guard let readiness = try secure.handshake() else {
            return .secure(SecureStream(secure))
        }
        interest = readiness
        handshake = .some(secure)
        return nil
    }
}
