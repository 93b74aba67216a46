package import Forwarding
package import Linux
package import Security
package import Time

/// A data connection that is not ready yet: one side has to connect, the client may have to agree on
/// TLS, or both.
package struct AwaitedData: ~Copyable {
    /// Where the client connects to.
    ///
    /// It stays until the handshake is done: a program on the client's host that connects and
    /// speaks no TLS must not take the client's place.
    private var listener: Listener?
    private var connecting: PendingConnection?
    private var handshake: TLSConnection?
    /// Why the last try to agree on TLS failed, if the client can try again.
    private var failure: TLSFailure?
    /// The descriptor to wait for.
    package private(set) var fileDescriptor: CInt
    /// What to wait for at `fileDescriptor`.
    package private(set) var interest = Readiness.readable
    /// When to give up.
    package let deadline: MonotonicTime

    /// libpcap's daemon waits for ever, and does not serve the control connection meanwhile.
    private static let timeout = Duration.seconds(10)

    /// What a peer, which is called `peer`, did not do in time: connect, or agree on TLS.
    package func timeoutText(_ peer: String) -> String {
        let seconds = Self.timeout.components.seconds
        if let failure { return "no TLS on the data connection within \(seconds) s: \(failure)" }
        if handshake != nil {
            return
                "the \(peer) did not finish the TLS handshake of the data connection within \(seconds) s"
        }
        return "the \(peer) opened no data connection within \(seconds) s"
    }

    /// Waits for the client to connect.
    package init(_ listener: consuming Listener, now: MonotonicTime) {
        fileDescriptor = listener.fileDescriptor
        deadline = now + Self.timeout
        self.listener = .some(listener)
    }

    /// Waits for the peer's data port to answer.
    package init(_ connecting: consuming PendingConnection, now: MonotonicTime) {
        fileDescriptor = connecting.fileDescriptor
        interest = .writable
        deadline = now + Self.timeout
        self.connecting = .some(connecting)
    }

    /// Waits for the client to begin with TLS.
    init(handshake: consuming TLSConnection, now: MonotonicTime) {
        fileDescriptor = handshake.fileDescriptor
        deadline = now + Self.timeout
        self.handshake = .some(handshake)
    }

    /// Finishes a connection to the peer's data port, when `fileDescriptor` is ready.
    ///
    /// - Returns: Nil if it is the peer that connects.
    /// - Throws: What prevented the connection.
    package mutating func finishConnecting() throws(SystemError) -> Connection? {
        guard let connecting = connecting.take() else { return nil }
        let connection = try connecting.finish()
        try connection.watchPeer()
        return connection
    }

    /// Takes the next step, when `fileDescriptor` is ready.
    ///
    /// A connection from another host than the control connection's peer is closed.
    ///
    /// - Returns: The data connection for packets when all is done; nil if there is more to wait for.
    package mutating func proceed(
        peer: SocketAddress, tls: TLSServer?
    ) throws -> sending DataConnection? {
        if handshake == nil, let connection = try listener?.accept() {
            guard connection.peer.address == peer.address else { return nil }
            try connection.watchPeer()
            guard let tls else { return .stream(connection.intoDescriptor()) }
            fileDescriptor = connection.fileDescriptor
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
            failure = error
            (fileDescriptor, interest) = (listening, .readable)
        }
        return nil
    }
}
