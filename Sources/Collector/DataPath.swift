import Addressing
import Linux
import Security

/// How the packets of one agent come, or will.
enum DataPath: ~Copyable {
    case none
    /// The agent connects here.
    case listening(Listener)
    /// This side connects to the agent.
    case connecting(PendingConnection)
    case open(Channel)
    case datagrams(DatagramReceiver)

    /// For a poll set, with `interest`; -1 where there is nothing to wait for.
    var number: CInt {
        switch self {
        case .none: -1
        case .listening(let listener): listener.fileDescriptor
        case .connecting(let connection): connection.fileDescriptor
        case .open(let channel): channel.fileDescriptor
        case .datagrams(let receiver): receiver.fileDescriptor
        }
    }

    var interest: Readiness {
        switch self {
        case .connecting: .writable
        case .open(let channel): channel.interest(hasOutput: false)
        default: .readable
        }
    }

    /// Whether there is something to read that poll does not know of.
    var hasBytes: Bool {
        switch self {
        case .open(let channel): channel.hasBytesToReceive
        default: false
        }
    }

    /// Which of them it is, for those who change it while they look.
    enum Kind {
        case none, listening, connecting, open, datagrams
    }

    var kind: Kind {
        switch self {
        case .none: .none
        case .listening: .listening
        case .connecting: .connecting
        case .open: .open
        case .datagrams: .datagrams
        }
    }

    /// Whether what is ready there is packets.
    var carriesPackets: Bool { kind == .open || kind == .datagrams }

    /// A connection that somebody has made, if there is one.
    func accept() throws -> Connection? {
        switch self {
        case .listening(let listener): try listener.accept()
        default: nil
        }
    }

    /// Reads what has arrived. Nil if nothing has; 0 at the end of the stream.
    mutating func receive(into buffer: inout [UInt8]) throws -> Int? {
        switch take() {
        case .open(var channel):
            let result = Result { try channel.receive(into: &buffer) }
            self = .open(channel)
            return try result.get()
        case let other:
            self = other
            return nil
        }
    }

    /// Reads one datagram, if it comes from that host.
    func receiveDatagram(
        into buffer: inout [UInt8], from host: IPAddress
    ) throws -> DatagramReceiver.Received {
        switch self {
        case .datagrams(let receiver): try receiver.receive(into: &buffer, from: host)
        default: .nothing
        }
    }

    /// Takes it away from its owner, who has none then.
    mutating func take() -> Self {
        let path = self
        self = .none
        return path
    }
}
