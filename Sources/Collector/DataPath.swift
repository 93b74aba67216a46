import Addressing
import Linux
import RPCAP
import Security

/// The way on which the packets of one agent come, or will come.
///
/// It is a TCP connection that either side opens, or a socket for datagrams.
struct DataPath: ~Copyable {
    private enum Form: ~Copyable {
        case none
        /// The agent connects here.
        case listening(Listener)
        /// This side is going to connect to the agent.
        case bound(BoundSocket)
        /// This side connects to the agent.
        case connecting(PendingConnection)
        case open(Channel)
        case datagrams(DatagramReceiver)
    }

    /// The state, which can be compared.
    enum State {
        case none, listening, bound, connecting, open, datagrams
    }

    /// The outcome of reading.
    enum Outcome: Equatable {
        /// Nothing more has arrived.
        case nothing
        /// Packets may have arrived, and more may wait.
        case some
        /// The agent has closed the connection.
        case end
        /// The agent has sent something else than packets.
        case malformed(String)
    }

    private var form = Form.none
    private var stream: PacketStream
    private var datagrams: DatagramReader
    private let agent: IPAddress
    /// The last host whose connection was turned away.
    private(set) var stranger: IPAddress?

    /// Datagrams that are read of one agent before the others have their turn.
    private static let datagramCountPerTurn = 1024

    /// Creates a path that is not open.
    ///
    /// - Parameters:
    ///   - agent: The host that the packets come from; others are ignored.
    ///   - snaplen: The most bytes of a packet that the agent may send.
    init(from agent: IPAddress, snaplen: Int) {
        self.agent = agent
        stream = PacketStream(snaplen: snaplen)
        datagrams = DatagramReader(snaplen: snaplen)
    }

    var state: State {
        switch form {
        case .none: .none
        case .listening: .listening
        case .bound: .bound
        case .connecting: .connecting
        case .open: .open
        case .datagrams: .datagrams
        }
    }

    /// Whether packets can be read.
    var carriesPackets: Bool { state == .open || state == .datagrams }

    /// The descriptor for a poll set, with `interest`; -1 if there is nothing to wait for.
    var fileDescriptor: CInt {
        switch form {
        case .none: -1
        case .bound: -1
        case .listening(let listener): listener.fileDescriptor
        case .connecting(let connection): connection.fileDescriptor
        case .open(let channel): channel.fileDescriptor
        case .datagrams(let receiver): receiver.fileDescriptor
        }
    }

    var interest: Readiness {
        switch form {
        case .connecting: .writable
        case .open(let channel): channel.interest(hasOutput: false)
        default: .readable
        }
    }

    /// Whether there is something to read that poll does not know of.
    var hasBufferedBytes: Bool {
        switch form {
        case .open(let channel): channel.hasBytesToReceive
        default: false
        }
    }

    /// Takes the form out; the path is closed then.
    private mutating func take() -> Form {
        var taken = Form.none
        swap(&taken, &form)
        return taken
    }
}

/// Opening and closing.
extension DataPath {
    /// Listens for the agent's connection.
    ///
    /// - Returns: The port.
    mutating func listen(at address: SocketAddress) throws(SystemError) -> UInt16 {
        let listener = try Listener(at: address, backlog: 1)
        let port = listener.local.port
        form = .listening(listener)
        return port
    }

    /// Opens a socket for datagrams.
    ///
    /// - Returns: The port.
    mutating func receiveDatagrams(at address: SocketAddress) throws(SystemError) -> UInt16 {
        let receiver = try DatagramReceiver(at: address)
        let port = receiver.local.port
        form = .datagrams(receiver)
        return port
    }

    /// Takes a port for the connection to the agent.
    ///
    /// - Returns: The port.
    mutating func bind(at address: SocketAddress) throws(SystemError) -> UInt16 {
        let socket = try BoundSocket(at: address)
        let port = socket.local.port
        form = .bound(socket)
        return port
    }

    /// Begins to connect to the agent.
    mutating func connect(to address: SocketAddress) throws(SystemError) {
        switch take() {
        case .bound(let socket): form = .connecting(try socket.connect(to: address))
        default: form = .connecting(try PendingConnection(to: address))
        }
    }

    /// Takes the connection over which packets will come, if it is open now and the agent's own.
    mutating func takeConnection() throws(SystemError) -> Connection? {
        guard let connection = try takeOpened() else { return nil }
        try connection.watchPeer()
        return connection
    }

    private mutating func takeOpened() throws(SystemError) -> Connection? {
        if state == .connecting { return try finishConnecting() }
        return try accept()
    }

    private mutating func accept() throws(SystemError) -> Connection? {
        switch form {
        case .listening(let listener):
            guard let connection = try listener.accept() else { return nil }
            guard connection.peer.address == agent else {
                stranger = connection.peer.address
                return nil
            }
            return connection
        default: return nil
        }
    }

    private mutating func finishConnecting() throws(SystemError) -> Connection? {
        switch take() {
        case .connecting(let pending): try pending.finish()
        default: nil
        }
    }

    /// Reads packets from a channel from now on.
    mutating func open(_ channel: consuming Channel) { form = .open(channel) }

    mutating func close() { form = .none }
}

/// Reading.
extension DataPath {
    /// Reads what has arrived, as much as fits into the buffer.
    ///
    /// `body` is called with each packet; the frame is lent for the call.
    mutating func read(
        into buffer: inout [UInt8], _ counters: SourceCounters,
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(TLSFailure) -> Outcome {
        switch state {
        case .open: return try readConnection(into: &buffer, counters, body)
        case .datagrams:
            do throws(SystemError) {
                return try readDatagrams(into: &buffer, counters, body)
            } catch {
                throw .system(error)
            }
        case .none, .listening, .bound, .connecting: return .nothing
        }
    }

    private mutating func readConnection(
        into buffer: inout [UInt8], _ counters: SourceCounters,
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(TLSFailure) -> Outcome {
        guard let count = try receive(into: &buffer) else { return .nothing }
        guard count > 0 else { return .end }
        stream.append(buffer[..<count])
        do throws(ProtocolFailure) {
            while try stream.next({ record, frame in
                counters.add(frame)
                body(record, frame)
            }) {}
            return .some
        } catch {
            let isStream = error == .unexpected(type: StreamDatagram.type)
            return .malformed(
                isStream
                    ? "the agent sends what only makes sense in datagrams, use --udp" : "\(error)")
        }
    }

    /// Reads bytes of the connection; nil if none have arrived, 0 at the end of the stream.
    private mutating func receive(into buffer: inout [UInt8]) throws(TLSFailure) -> Int? {
        switch take() {
        case .open(var channel):
            let result: Result<Int?, TLSFailure>
            do throws(TLSFailure) {
                result = .success(try channel.receive(into: &buffer))
            } catch {
                result = .failure(error)
            }
            form = .open(channel)
            return try result.get()
        case let other:
            form = other
            return nil
        }
    }

    private mutating func readDatagrams(
        into buffer: inout [UInt8], _ counters: SourceCounters,
        _ body: (PacketRecord, RawSpan) -> Void
    ) throws(SystemError) -> Outcome {
        let before = datagrams.counts
        defer { counters.add(datagrams.counts, since: before) }
        for _ in 0..<Self.datagramCountPerTurn {
            switch try receiveDatagram(into: &buffer) {
            case .nothing: return .nothing
            case .other: counters.strangers += 1
            case .datagram(let byteCount):
                datagrams.read(buffer.wire.extracting(0..<byteCount)) { record, frame in
                    counters.add(frame)
                    body(record, frame)
                }
            }
        }
        return .some
    }

    private func receiveDatagram(
        into buffer: inout [UInt8]
    ) throws(SystemError) -> DatagramReceiver.Received {
        switch form {
        case .datagrams(let receiver): try receiver.receive(into: &buffer, from: agent)
        default: .nothing
        }
    }
}
