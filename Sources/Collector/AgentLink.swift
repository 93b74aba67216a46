import CaptureFiles
import Glibc
import Linux
import RPCAP
import Security

/// One session with one agent: its control connection, and the way that its packets come.
///
/// It belongs to the collector's thread. What an agent does wrong ends its link and no other.
final class AgentLink {
    let connectedAt: UInt64
    /// The source that was dialled; nil if the agent dialled.
    let source: Source?
    private var control: Channel
    let options: CaptureOptions
    private var session: ClientSession
    var path = DataPath.none
    private(set) var device = ""
    private(set) var linkType: UInt16 = 0
    private(set) var state = State.greeting
    /// Where its packets are counted, once there is a capture.
    private(set) var tally: Tally?
    private(set) var endReason: String?
    var stream: PacketStream
    var datagrams: DatagramReader
    private var output: [UInt8] = []
    private var dataDeadline: UInt64?
    private(set) var hasEnded = false
    /// Whether it has been closed before anything was said, as those do who only look whether somebody
    /// listens.
    private(set) var isProbe = false
    private var hasSpoken = false
    private var lastStatistics = CaptureStatistics()
    /// What a person has to be told, and what has been said.
    private var notes: [String] = []
    private var saidNotes: Set<String> = []

    enum State: String {
        case greeting
        case starting
        case capturing
        case ending
    }

    /// A data connection has this long to come, whoever opens it.
    private static let dataNanosecondsMax: UInt64 = 10_000_000_000
    /// The last datagrams may come behind the agent's word that they have been sent.
    private static let lateNanosecondsMax: UInt64 = 300_000_000
    /// An agent that has something new to say each time is not worth more lines of a log.
    private static let noteCountMax = 16

    init(
        _ control: consuming Channel, from source: Source?, _ options: CaptureOptions, now: UInt64
    ) {
        self.control = control
        self.source = source
        self.options = options
        connectedAt = now
        stream = PacketStream(snaplen: options.snaplen)
        datagrams = DatagramReader(snaplen: options.snaplen)
        var goal = ClientSession.Goal()
        goal.sampling = options.sampling
        goal.device = source?.device
        goal.login = source?.login ?? .null
        session = ClientSession(source == nil ? .active : .passive, goal, now: .now)
    }

    var peer: SocketAddress { control.peer }

    /// For people: where the agent dialled from, or what was dialled.
    var label: String { source?.description ?? "\(peer)" }

    /// What the agent's interface in the file is called.
    var interfaceName: String { "\(device)@\(source?.shortPlace ?? "\(peer.address)")" }

    var isCapturing: Bool { state == .capturing || state == .ending }

    /// For a poll set.
    var controlNumber: CInt { control.fileDescriptor }
    /// Whether there is something to read that poll does not know of.
    var hasControlBytes: Bool { control.hasBytesToReceive }
    var controlInterest: Readiness { control.interest(hasOutput: !output.isEmpty) }

    func end(_ reason: String) {
        if endReason == nil { endReason = reason }
    }

    /// Reads what the agent says, and answers it.
    func readControl(into buffer: inout [UInt8]) throws {
        switch try control.receive(into: &buffer) {
        case nil: break
        case 0: isClosed()
        case let count?:
            hasSpoken = true
            session.receive(buffer[..<count])
            try proceed()
        }
    }

    private func isClosed() {
        isProbe = source == nil && !hasSpoken
        end(state == .ending ? "closed" : "the agent closed the connection")
    }

    /// Ends it because of an error. Who closes with something unread resets the connection.
    func fail(_ error: any Error) {
        let isClose =
            switch error as? TLSFailure {
            case .closed: true
            case .system(let error): error.errno == .connectionReset || error.errno == .brokenPipe
            default: false
            }
        if isClose { isProbe = source == nil && !hasSpoken }
        end("\(error)")
    }

    /// Carries out what the session wants.
    func proceed() throws {
        while endReason == nil, let action = session.nextAction(now: .now) {
            switch action {
            case .send(let bytes): output += bytes
            case .prepare(let device, let linkType): try prepare(device, linkType)
            case .started(let reply): try begin(reply)
            case .statistics(let statistics): take(statistics)
            case .note(let text): note(text)
            case .ended: try sendingHasEnded()
            case .listed: break
            case .close(let reason): end(hasEnded ? "ended" : reason)
            }
        }
        try writeControl()
    }

    func writeControl() throws {
        guard !output.isEmpty else { return }
        output.removeFirst(try control.send(output[...]))
    }

    /// What is to be said to a person, once.
    func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    func checkDeadline(_ now: UInt64) throws {
        if let dataDeadline, now > dataDeadline {
            switch path.kind {
            case .datagrams, .none: try complete()
            case .connecting: end("the agent's data port does not answer within 10 s")
            default: end("the agent opened no data connection")
            }
        }
        session.expire(now: .now)
        try proceed()
    }

    func askForStatistics() throws {
        guard state == .capturing, session.isIdle else { return }
        session.askForStatistics(now: .now)
        try proceed()
    }

    /// Ends the capture. The link ends when the agent has sent its last packet.
    func endCapture() throws {
        guard state == .capturing else { return end("ended") }
        state = .ending
        session.askForStatistics(now: .now)
        session.end(now: .now)
        try proceed()
    }

    /// The agent has sent all, and all has been read: says goodbye where that is usual.
    func complete() throws {
        path = .none
        dataDeadline = nil
        hasEnded = true
        session.close()
        try proceed()
    }
}

extension AgentLink {
    /// Makes ready for the data on the address that the control connection uses, and starts.
    private func prepare(_ device: Device, _ linkType: UInt16) throws {
        self.device = ReplyText.printable(device.name)
        self.linkType = linkType
        let now = monotonicNanoseconds()
        let here = control.local.with(port: 0)
        var flags: StartRequest.Flags = source == nil ? .serverOpens : []
        var port: UInt16 = 0
        if options.usesDatagrams {
            let receiver = try DatagramReceiver(at: here)
            port = receiver.local.port
            flags.insert(.udp)
            path = .datagrams(receiver)
        } else if source == nil {
            let listener = try Listener(at: here, backlog: 1)
            port = listener.local.port
            path = .listening(listener)
            dataDeadline = now + Self.dataNanosecondsMax
        }
        session.start(options.startRequest(flags: flags, dataPort: port), now: .now)
        state = .starting
    }

    /// The capture runs. An agent that was dialled is dialled once more for its packets.
    private func begin(_ reply: StartReply) throws {
        if state == .starting { state = .capturing }
        guard source != nil, !options.usesDatagrams else { return }
        path = .connecting(try PendingConnection(to: peer.with(port: reply.dataPort)))
        dataDeadline = monotonicNanoseconds() + Self.dataNanosecondsMax
    }

    /// The data connection is there.
    func dataIsOpen(_ channel: consuming Channel) {
        path = .open(channel)
        dataDeadline = nil
    }

    /// The data connection ends behind its last packet, before or after this.
    private func sendingHasEnded() throws {
        hasEnded = true
        switch path.kind {
        case .none: try complete()
        case .datagrams: dataDeadline = monotonicNanoseconds() + Self.lateNanosecondsMax
        default: break
        }
    }

    /// Has a person told, once for each session.
    func note(_ text: String) {
        guard saidNotes.count < Self.noteCountMax, saidNotes.insert(text).inserted else { return }
        notes.append(text)
    }

    /// From now on its packets are counted there.
    func count(in tally: Tally) {
        self.tally = tally
        tally.state = "capturing"
        tally.isInFile = true
        tally.capturingSince = tally.capturingSince ?? monotonicNanoseconds()
    }

    private func take(_ statistics: CaptureStatistics) {
        let last = lastStatistics
        // The counts are modulo 2^32. A daemon that forgets them at the end begins at 0 again.
        guard let tally, statistics != CaptureStatistics() else { return }
        lastStatistics = statistics
        tally.counts.received &+= UInt64(statistics.received &- last.received)
        tally.counts.droppedByInterface &+= UInt64(
            statistics.droppedByInterface &- last.droppedByInterface)
        tally.counts.droppedByKernel &+= UInt64(
            statistics.droppedByKernel &- last.droppedByKernel)
    }
}
