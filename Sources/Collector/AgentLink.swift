import BPF
import Frames
import Glibc
import Kernel
import RPCAP

/// One agent that has dialled the collector: its control connection, and its data connection.
///
/// It belongs to the collector's thread. What an agent does wrong ends its link and no other.
final class AgentLink {
    let control: Connection
    let connectedAt: UInt64
    private(set) var session = ClientSession()
    private(set) var listener: Listener?
    private(set) var data: Connection?
    private(set) var device = ""
    private(set) var state = State.greeting
    /// The number that the capture file knows this agent by, once it captures.
    var interface: Int?
    /// Counts of this session; `delivered` is what has come over the data connection.
    private(set) var counts = InterfaceCounts()
    private(set) var byteCount: UInt64 = 0
    private(set) var endReason: String?
    private var stream: PacketStream
    private var output: [UInt8] = []
    private var dataDeadline: UInt64?
    /// When the agent last had nothing to answer, or answered something.
    private var quietSince: UInt64
    private let snaplen: Int
    private var hasEnded = false
    private var lastStatistics = CaptureStatistics()

    enum State: String {
        case greeting
        case starting
        case capturing
        case ending
    }

    /// An agent that has been told where to send its packets has this long to connect.
    private static let dataNanosecondsMax: UInt64 = 10_000_000_000
    /// So long an answer may take. A peer that says nothing at all is no agent.
    private static let answerNanosecondsMax: UInt64 = 30_000_000_000

    init(_ control: consuming Connection, snaplen: Int, now: UInt64) {
        self.control = control
        self.snaplen = snaplen
        connectedAt = now
        quietSince = now
        stream = PacketStream(snaplen: snaplen)
    }

    var peer: SocketAddress { control.peer }

    var hasOutput: Bool { !output.isEmpty }

    /// The number to poll for the listener while the agent's data connection is awaited, or -1.
    var listenerNumber: CInt { listener?.number ?? -1 }
    var dataNumber: CInt { data?.number ?? -1 }

    func end(_ reason: String) {
        if endReason == nil { endReason = reason }
    }

    /// Reads what the agent says, and answers it.
    func readControl(into buffer: inout [UInt8]) throws(SystemError) {
        switch try control.receive(into: &buffer) {
        case nil: break
        case 0: end(state == .ending ? "closed" : "the agent closed the connection")
        case let count?:
            session.receive(buffer[..<count])
            quietSince = monotonicNanoseconds()
            try proceed()
        }
    }

    /// Carries out what the session wants.
    func proceed() throws(SystemError) {
        while endReason == nil, let action = session.nextAction() {
            switch action {
            case .send(let bytes): output += bytes
            case .prepare(let device): try prepare(device)
            case .started: if state == .starting { state = .capturing }
            case .statistics(let statistics): take(statistics)
            // The data connection ends behind its last packet, before or after this.
            case .ended:
                hasEnded = true
                if data == nil { end("ended") }
            case .close(let reason): end(reason)
            }
        }
        try writeControl()
    }

    func writeControl() throws(SystemError) {
        guard !output.isEmpty else { return }
        output.removeFirst(try control.send(output[...]))
    }

    /// Listens for the data connection where the control connection came to, and asks for it.
    private func prepare(_ device: Device) throws(SystemError) {
        self.device = Self.printable(device.name)
        let listener = try Listener(at: control.local.with(port: 0), backlog: 1)
        let filter = [Instruction(.keep, UInt32(snaplen))]
        session.start(
            StartRequest(
                snaplen: snaplen, flags: [.promiscuous, .serverOpens],
                dataPort: listener.local.port, filter: filter))
        self.listener = consume listener
        state = .starting
        dataDeadline = monotonicNanoseconds() + Self.dataNanosecondsMax
    }

    /// Takes the data connection, if it comes from the agent itself.
    func acceptData() throws(SystemError) {
        guard let connection = try listener?.accept() else { return }
        guard connection.peer.address == peer.address else { return }
        try connection.watchPeer()
        data = consume connection
        listener = nil
        dataDeadline = nil
    }

    /// Reads packets and hands each to `body`. Answers false when nothing more has arrived.
    func readData(
        into buffer: inout [UInt8], _ body: (PacketRecord, RawSpan) -> Void
    ) throws(SystemError) -> Bool {
        guard let count = try data?.receive(into: &buffer) ?? nil else { return false }
        guard count > 0 else {
            data = nil
            if state != .ending { end("the agent closed the data connection") }
            if hasEnded { end("ended") }
            return false
        }
        stream.append(buffer[..<count])
        do throws(ProtocolFailure) {
            while try stream.next(body) { counts.delivered += 1 }
        } catch {
            end("data connection: \(error)")
        }
        byteCount += UInt64(count)
        return true
    }

    func checkDeadline(_ now: UInt64) {
        if let dataDeadline, now > dataDeadline { end("the agent opened no data connection") }
        if session.isIdle { quietSince = now }
        if now > quietSince + Self.answerNanosecondsMax { end("the agent does not answer") }
    }

    func askForStatistics() throws(SystemError) {
        guard state == .capturing, session.isIdle else { return }
        session.askForStatistics()
        try proceed()
    }

    /// Ends the capture. The link ends when the agent has sent its last packet.
    func endCapture() throws(SystemError) {
        guard state == .capturing else { return end("ended") }
        state = .ending
        session.askForStatistics()
        session.end()
        try proceed()
    }

    private func take(_ statistics: CaptureStatistics) {
        let last = lastStatistics
        lastStatistics = statistics
        // The counts are modulo 2^32. A daemon that forgets them at the end begins at 0 again.
        guard statistics != CaptureStatistics() else { return }
        counts.received += UInt64(statistics.received &- last.received)
        counts.droppedByInterface += UInt64(
            statistics.droppedByInterface &- last.droppedByInterface)
        counts.droppedByKernel += UInt64(statistics.droppedByKernel &- last.droppedByKernel)
    }

    /// A name as it can be shown on a terminal, whatever its owner has put into it.
    private static func printable(_ name: String) -> String {
        String(
            name.unicodeScalars.prefix(64).map {
                (0x21...0x7e).contains($0.value) ? Character($0) : "?"
            })
    }
}
