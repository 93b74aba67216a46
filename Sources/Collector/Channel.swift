import Kernel

/// A connection to an agent, for control or data, as it is carried: the one place that another way
/// of carrying it has to be added to. Reads and writes never wait; `poll` does.
enum Channel: ~Copyable {
    case plain(Connection)

    /// For a poll set, with `interest`.
    var number: CInt {
        switch self {
        case .plain(let connection): connection.number
        }
    }

    var local: SocketAddress {
        switch self {
        case .plain(let connection): connection.local
        }
    }

    var peer: SocketAddress {
        switch self {
        case .plain(let connection): connection.peer
        }
    }

    /// What to wait for before the next `receive`, or `send` if there is something to send.
    func interest(hasOutput: Bool) -> Readiness { hasOutput ? [.readable, .writable] : .readable }

    /// Reads what has arrived into the buffer. Nil if nothing has; 0 at the end of the stream.
    func receive(into buffer: inout [UInt8]) throws(SystemError) -> Int? {
        switch self {
        case .plain(let connection): try connection.receive(into: &buffer)
        }
    }

    /// Sends as much as can be sent now, and answers how many bytes that was.
    func send(_ bytes: ArraySlice<UInt8>) throws(SystemError) -> Int {
        switch self {
        case .plain(let connection): try connection.send(bytes)
        }
    }
}
