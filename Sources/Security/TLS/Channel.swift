package import Linux

/// A connection with a peer, plain or over TLS: whoever uses it need not know which. It has the verbs of
/// `Connection`, and never waits; `poll` does.
package struct Channel: ~Copyable, Sendable {
    // One of the two is there.
    private let plain: Connection?
    private var secure: TLSConnection?
    package let local: SocketAddress
    package let peer: SocketAddress
    /// For a poll set, with `interest`.
    package let fileDescriptor: CInt

    package init(_ connection: consuming Connection) {
        (local, peer, fileDescriptor) = (
            connection.local, connection.peer, connection.fileDescriptor
        )
        plain = .some(connection)
        secure = nil
    }

    /// Takes a connection whose handshake is done.
    package init(_ connection: consuming TLSConnection) {
        local = connection.connection.local
        peer = connection.connection.peer
        fileDescriptor = connection.fileDescriptor
        plain = nil
        secure = .some(connection)
    }

    /// Takes a connection on which this side begins with the handshake, and begins; it goes on with
    /// what is received and sent.
    package init(beginning connection: consuming TLSConnection) throws(TLSFailure) {
        var connection = connection
        _ = try connection.handshake()
        self.init(connection)
    }

    /// What to wait for before the next `receive`, if that is wanted, or `send`, if there is something
    /// to send.
    package func interest(_ wantsInput: Bool = true, hasOutput: Bool) -> Readiness {
        var (input, output) = (Readiness.readable, Readiness.writable)
        switch secure {
        case .some(let secure):
            (input, output) = (secure.receiveWaitsFor, secure.sendWaitsFor)
        case nil: break
        }
        return (wantsInput ? input : []).union(hasOutput ? output : [])
    }

    /// Whether `receive` has something although nothing more may arrive: then do not wait.
    package var hasBytesToReceive: Bool {
        switch secure {
        case .some(let secure): secure.hasBytesToReceive
        case nil: false
        }
    }

    /// Reads what has arrived into the buffer. Nil if nothing has; 0 at the end of the stream.
    package mutating func receive(into buffer: inout [UInt8]) throws(TLSFailure) -> Int? {
        if secure != nil { return try secure?.receive(into: &buffer) ?? nil }
        do throws(SystemError) {
            return try plain?.receive(into: &buffer) ?? nil
        } catch {
            throw .system(error)
        }
    }

    /// Sends as much as can be sent now, and answers how many bytes that was. What could not be sent
    /// has to come first the next time.
    package mutating func send(_ bytes: ArraySlice<UInt8>) throws(TLSFailure) -> Int {
        if secure != nil { return try secure?.send(bytes) ?? 0 }
        do throws(SystemError) {
            return try plain?.send(bytes) ?? 0
        } catch {
            throw .system(error)
        }
    }

    /// Tells the peer that nothing more comes.
    package mutating func endSending() {
        secure?.shutDown()
        secure?.connection.endSending()
        plain?.endSending()
    }
}
