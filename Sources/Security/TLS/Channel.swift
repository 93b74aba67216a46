package import Linux

/// A connection with a peer, plain or over TLS, with the methods of `Connection`.
///
/// It never waits.
package struct Channel: ~Copyable, Sendable {
    // One of the two is nil.
    private let plain: Connection?
    private var secure: TLSConnection?
    /// The address of this end.
    package let local: SocketAddress
    /// The address of the other end.
    package let peer: SocketAddress
    /// The descriptor, for a poll set, with `interest`.
    package let fileDescriptor: CInt

    /// Takes a plain connection.
    package init(_ connection: consuming Connection) {
        (local, peer, fileDescriptor) = (
            connection.local, connection.peer, connection.fileDescriptor
        )
        plain = .some(connection)
        secure = nil
    }

    /// Takes a TLS connection whose handshake is done.
    package init(_ connection: consuming TLSConnection) {
        local = connection.connection.local
        peer = connection.connection.peer
        fileDescriptor = connection.fileDescriptor
        plain = nil
        secure = .some(connection)
    }

    /// Takes a TLS connection and begins the handshake, which goes on as data is received and sent.
    package init(beginning connection: consuming TLSConnection) throws(TLSFailure) {
        var connection = connection
        _ = try connection.handshake()
        self.init(connection)
    }

    /// What to wait for before the next `receive` or `send`.
    ///
    /// - Parameters:
    ///   - wantsInput: Whether `receive` is to be called.
    ///   - hasOutput: Whether `send` is to be called.
    /// - Returns: The readiness, for a poll set.
    package func interest(wantsInput: Bool = true, hasOutput: Bool) -> Readiness {
        var (input, output) = (Readiness.readable, Readiness.writable)
        switch secure {
        case .some(let secure):
            (input, output) = (secure.receiveWaitsFor, secure.sendWaitsFor)
        case nil: break
        }
        return (wantsInput ? input : []).union(hasOutput ? output : [])
    }

    /// Whether `receive` has bytes although nothing more may arrive: do not wait then.
    package var hasBytesToReceive: Bool {
        switch secure {
        case .some(let secure): secure.hasBytesToReceive
        case nil: false
        }
    }

    /// Reads what has arrived into the buffer.
    ///
    /// - Returns: The number of bytes: nil if none has arrived, 0 at the end of the stream.
    package mutating func receive(into buffer: inout [UInt8]) throws(TLSFailure) -> Int? {
        if secure != nil { return try secure?.receive(into: &buffer) ?? nil }
        do throws(SystemError) {
            return try plain?.receive(into: &buffer) ?? nil
        } catch {
            throw .system(error)
        }
    }

    /// Sends as much as can be sent now.
    ///
    /// What could not be sent has to come first the next time.
    ///
    /// - Returns: The number of bytes sent, which may be 0.
    package mutating func send(_ bytes: ArraySlice<UInt8>) throws(TLSFailure) -> Int {
        if secure != nil { return try secure?.send(bytes) ?? 0 }
        do throws(SystemError) {
            return try plain?.send(bytes) ?? 0
        } catch {
            throw .system(error)
        }
    }

    /// Ends the stream to the peer, which can still send.
    package mutating func endSending() {
        secure?.shutDown()
        secure?.connection.endSending()
        plain?.endSending()
    }
}
