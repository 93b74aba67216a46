import Linux
package import Security

/// A TLS connection that the packets of a capture are sent over.
///
/// It belongs to the sending thread.
package final class SecureStream {
    private var connection: TLSConnection
    /// The socket, for a poll set.
    let fileDescriptor: CInt
    private var discarded = [UInt8](repeating: 0, count: TLSConnection.recordByteCountMax)

    /// The most records read at a time, so that a peer that never stops sending cannot keep the
    /// thread from its packets.
    private static let recordCountPerTurn = 4

    /// Takes over a connection whose handshake is done.
    package init(_ connection: consuming TLSConnection) {
        fileDescriptor = connection.fileDescriptor
        self.connection = connection
    }

    /// Tells the peer that this was all.
    deinit { connection.shutDown() }

    /// Sends what the socket takes.
    ///
    /// - Returns: Whether nothing is left.
    func send(from queue: inout ByteQueue) throws(TLSFailure) -> Bool {
        try queue.send { part throws(TLSFailure) in try connection.send(part) }
    }

    /// Reads and drops what the peer sends; TLS itself may need it.
    ///
    /// - Returns: False if the peer has ended its stream.
    /// - Throws: The reason why nothing can be sent any more.
    func discardReceived() throws(SendFailure) -> Bool {
        do throws(TLSFailure) {
            for _ in 0..<Self.recordCountPerTurn {
                guard let count = try connection.receive(into: &discarded) else { return true }
                if count == 0 {
                    // Without TLS's own ending OpenSSL sends nothing either.
                    guard !connection.hasFailed else { throw TLSFailure.closed }
                    return false
                }
            }
            return true
        } catch {
            throw error == .closed ? .closed : SendFailure(ofConnection: error)
        }
    }

    /// The reason why the socket has failed.
    var failure: SendFailure {
        guard let errno = try? connection.connection.descriptor.takePendingError() else {
            return .closed
        }
        return SendFailure(ofConnection: SystemError("send", errno))
    }
}
