import Addressing
import BPF
import RPCAP
import Time

/// A control connection as the server sees it, with any bytes from the client.
///
/// The first byte chooses the mode, the logins and whether the driver refuses; the second how the
/// rest is cut. Cut or whole, the same bytes lead to the same actions. Whatever comes, the session
/// stays small, sends nothing but whole messages, and has no deadline that is over.
enum ServerTarget {
    static let target = FuzzTarget(
        "server", "requests of a client on the control connection", byteCountMax: 16_384, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let (choices, seed) = (input.byte(), input.byte())
        let stream = input.rest()
        var whole = ServerDriver(choices)
        try whole.receive(stream[...])
        var cut = ServerDriver(choices)
        for piece in pieces(of: stream, seed) { try cut.receive(piece) }
        try require(whole.actions == cut.actions, "\(whole.actions), but cut \(cut.actions)")
        var slow = ServerDriver(choices)
        for piece in pieces(of: stream, seed) {
            try slow.receive(piece)
            try slow.wait(.milliseconds(Int(seed) << 4))
        }
        try slow.wait(.seconds(400))
    }
}

/// The driver of a session, which carries out what the session demands, and looks at it.
private struct ServerDriver {
    private var session: ServerSession
    private let refuses: Bool
    private(set) var actions: [ServerSession.Action] = []
    private var now = MonotonicTime.zero
    private var isClosed = false

    private static let devices = [
        Device(name: "lo"),
        Device(
            name: "any-eth", isPreselected: true,
            addresses: [Device.Address(IPAddress(ipv4: 0x0af4_0101), prefixBitCount: 16)]),
    ]
    /// Half a megabyte, of which a session needs a fraction.
    private static let capacityMax = 1 << 19

    init(_ choices: UInt8) {
        session = ServerSession(
            choices & 1 == 0 ? .active : .passive,
            logins: ServerSession.Logins(rawValue: Int(choices >> 1 & 3)), now: .zero)
        refuses = choices & 8 != 0
        if choices & 16 != 0 { session.loginRefusal = "not now" }
    }

    mutating func receive(_ bytes: ArraySlice<UInt8>) throws(BrokenLaw) {
        session.receive(bytes, now: now)
        while let action = session.nextAction(now: now) {
            try require(!isClosed, "\(action) after the end")
            actions.append(action)
            try check(action)
            carryOut(action)
        }
        try require(session.inputCapacity < Self.capacityMax, "holds \(session.inputCapacity)")
    }

    /// Lets time pass.
    mutating func wait(_ time: Duration) throws(BrokenLaw) {
        now += time
        guard let deadline = session.deadline, deadline <= now else { return }
        try receive([])
        // A request that was held back may begin to wait anew.
        let next = session.deadline
        try require(next.map { $0 > now } ?? true, "a deadline that is over stays")
        if actions.count > Self.captureEndCount { session.captureFailed("it is over", now: now) }
    }

    /// After this many actions a capture fails by itself.
    private static let captureEndCount = 12

    private mutating func check(_ action: ServerSession.Action) throws(BrokenLaw) {
        switch action {
        case .send(let bytes): try require(Self.isWellFormed(bytes), "sends \(bytes)")
        case .open(let name): try require(!name.isEmpty, "opens a device without a name")
        case .startCapture(let request):
            try require(
                (1...StartRequest.snaplenMax).contains(request.snaplen), "\(request.snaplen)")
            try check(request.filter)
            try require(
                Self.devices.contains { $0.name == request.device }, "starts \(request.device)")
        case .updateFilter(let filter): try check(filter)
        case .note(let text, let said):
            try require(isPrintable(text + (said ?? "")), "notes \(text), \(said ?? "")")
        case .close(let reason):
            try require(isPrintable(reason), "ends with \(reason)")
            isClosed = true
        case .checkPassword, .listDevices, .sample, .reportStatistics, .endCapture: break
        }
    }

    private func check(_ filter: [Instruction]) throws(BrokenLaw) {
        try require(
            (1...Program.instructionCountMax).contains(filter.count), "\(filter.count) steps")
    }

    /// Whether bytes are a message that a client takes, or TLS's alert.
    private static func isWellFormed(_ bytes: [UInt8]) -> Bool {
        guard bytes.count >= MessageHeader.byteCount else { return bytes.first == 0x15 }
        let header = MessageHeader(bytes.wire)
        return (header.type == MessageType.error.rawValue || header.type & 0x80 != 0)
            && bytes.count == MessageHeader.byteCount + Int(header.payloadByteCount)
    }

    private mutating func carryOut(_ action: ServerSession.Action) {
        switch action {
        case .checkPassword(let user, _):
            session.passwordChecked(isRight: user.first == UInt8(ascii: "e"), now: now)
        case .listDevices: session.devicesListed(refuses ? [] : Self.devices)
        case .open(let name):
            if Self.devices.contains(where: { $0.name == name }) {
                session.deviceOpened()
            } else {
                session.deviceRefused("there is no such device")
            }
        case .startCapture:
            if refuses {
                session.captureRefused("no")
            } else {
                session.captureStarted(bufferByteCount: 0, dataPort: 4711)
            }
        case .updateFilter: refuses ? session.filterRefused("no") : session.filterUpdated()
        case .reportStatistics: session.report(CaptureStatistics(received: 1, sent: 1))
        case .endCapture: session.captureEnded()
        case .send, .sample, .note, .close: break
        }
    }
}
