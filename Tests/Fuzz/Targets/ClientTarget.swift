import Addressing
import BPF
import RPCAP
import Time

/// A control connection as the collector sees it, with any bytes from the agent.
///
/// The first byte chooses the mode and the goal, the second how the rest is cut. Cut or whole, the
/// same bytes lead to the same actions. What the client sends, the server's session understands.
enum ClientTarget {
    static let target = FuzzTarget(
        "client", "replies of an agent on the control connection", byteCountMax: 16_384, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let (choices, seed) = (input.byte(), input.byte())
        let stream = input.rest()
        var whole = ClientDriver(choices)
        try whole.receive(stream[...])
        var cut = ClientDriver(choices)
        for piece in pieces(of: stream, seed) { try cut.receive(piece) }
        try require(whole.actions == cut.actions, "\(whole.actions), but cut \(cut.actions)")
        try whole.checkRequests()
        try whole.expire()
    }
}

/// The driver of a session, which goes through a whole capture if the replies let it.
private struct ClientDriver {
    private var session: ClientSession
    private let mode: SessionMode
    private let login: LoginRequest
    private(set) var actions: [ClientSession.Action] = []
    private var isClosed = false

    init(_ choices: UInt8) {
        var goal = ClientSession.Goal()
        goal.sampling = choices & 2 == 0 ? .none : .onePacketIn(7)
        goal.listsOnly = choices & 4 != 0
        if choices & 8 != 0 { goal.device = "any-eth" }
        if choices & 16 != 0 { goal.login = .password(user: [0x65], password: [0x73]) }
        (mode, login) = (choices & 1 == 0 ? .active : .passive, goal.login)
        session = ClientSession(mode, goal, now: .zero)
    }

    mutating func receive(_ bytes: ArraySlice<UInt8>) throws(BrokenLaw) {
        session.receive(bytes)
        while let action = session.nextAction(now: .zero) {
            try require(!isClosed, "\(action) after the end")
            actions.append(action)
            try carryOut(action)
        }
        try require(session.peerAddresses.count <= 64, "\(session.peerAddresses.count) addresses")
        try require(!isClosed || session.deadline == nil, "a deadline after the end")
    }

    private mutating func carryOut(_ action: ClientSession.Action) throws(BrokenLaw) {
        switch action {
        case .prepare:
            session.start(
                StartRequest(
                    snaplen: 64, flags: .udp, dataPort: 4711, filter: [Instruction(.keep, 64)]),
                now: .zero)
        case .started:
            session.askForStatistics(now: .zero)
            session.updateFilter([Instruction(.keep, 32)], now: .zero)
        case .statistics(let counts):
            if counts.sent != 0 {
                session.end(now: .zero)
            } else {
                session.askForStatistics(now: .zero)
            }
        case .note(let text): try require(isPrintable(text), "notes \(text)")
        case .close(let reason):
            try require(isPrintable(reason), "ends with \(reason)")
            isClosed = true
        case .send, .listed, .ended: break
        }
    }

    /// Has a server's session read what was sent.
    func checkRequests() throws(BrokenLaw) {
        var server = ServerSession(mode, logins: [.null, .password], now: .zero)
        for case .send(let bytes) in actions {
            server.receive(bytes[...], now: .zero)
            while let action = server.nextAction(now: .zero) {
                switch action {
                case .checkPassword: server.passwordChecked(isRight: true, now: .zero)
                case .listDevices: server.devicesListed([Device(name: "lo")])
                case .open: server.deviceOpened()
                case .startCapture: server.captureStarted(dataPort: 4711)
                case .updateFilter: server.filterUpdated()
                case .reportStatistics: server.report(CaptureStatistics())
                case .endCapture: server.captureEnded()
                case .close(let reason): throw BrokenLaw(description: "\(reason): \(bytes)")
                case .send, .sample, .note: break
                }
            }
        }
    }

    /// Lets time pass until no reply is still due.
    mutating func expire() throws(BrokenLaw) {
        guard session.deadline != nil else { return }
        session.expire(now: .zero + ClientSession.replyTimeMax + .seconds(1))
        let action = session.nextAction(now: .zero)
        guard case .close(let reason)? = action else {
            throw BrokenLaw(description: "waits on for a reply: \(String(describing: action))")
        }
        try require(isPrintable(reason), "ends with \(reason)")
    }
}
