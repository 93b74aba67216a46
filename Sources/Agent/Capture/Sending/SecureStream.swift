package import Security

import Linux

/// A capture's packets on their way over TLS. It belongs to the thread that sends.
package final class SecureStream {
    private var connection: TLSConnection
    let number: Int32
    private var discarded = [UInt8](repeating: 0, count: TLSConnection.recordByteCountMax)

    /// A peer that sends without end must not keep the forwarder from its packets.
    private static let recordCountPerTurn = 4

    /// Takes a connection whose handshake is done.
    package init(_ connection: consuming TLSConnection) {
        number = connection.fileDescriptor
        self.connection = connection
    }

    /// The peer is told that this was all.
    deinit { connection.shutDown() }

    /// Sends what the socket takes. Answers whether nothing is left.
    func send(from queue: inout ByteQueue) throws(TLSFailure) -> Bool {
        try queue.send { part throws(TLSFailure) in try connection.send(part) }
    }

    /// Reads what the peer says beside TLS's own affairs, which nobody expects. Answers false if it has
    /// closed the connection or that has failed.
    func discardReceived() -> Bool {
        do throws(TLSFailure) {
            for _ in 0..<Self.recordCountPerTurn {
                guard let count = try connection.receive(into: &discarded) else { return true }
                if count == 0 { return false }
            }
            return true
        } catch {
            return false
        }
    }
}
