import RPCAP
import Time

/// Bytes written as pairs of hex digits, with any white space between them.
func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
    return stride(from: 0, to: digits.count - 1, by: 2).map {
        UInt8(digits[$0] << 4 | digits[$0 + 1])
    }
}

/// What the driver of a session does, without sockets: every demand is granted at once.
struct Driver {
    var session: ServerSession
    var now = MonotonicTime.zero
    let devices: [Device]
    private(set) var sent: [UInt8] = []
    private(set) var starts: [StartRequest] = []
    private(set) var filters = 0
    private(set) var samplings: [Sampling] = []
    private(set) var notes: [String] = []
    private(set) var closeReason: String?
    var refuses = false
    /// Where the client is to connect to in passive mode.
    var dataPort: UInt16 = 0
    var bufferByteCount: UInt32 = 0

    init(
        _ mode: ServerSession.Mode = .active, logins: ServerSession.Logins = .null,
        devices: [Device] = [Device(name: "lo")]
    ) {
        session = ServerSession(mode, logins: logins, now: .zero)
        self.devices = devices
    }

    /// Gives the session bytes, and answers what it sent for them.
    mutating func exchange(_ bytes: [UInt8]) -> [UInt8] {
        sent = []
        session.receive(bytes[...], now: now)
        while let action = session.nextAction(now: now) { carryOut(action) }
        return sent
    }

    /// Lets time pass, and answers what the session sent because of that.
    mutating func wait(seconds: Double) -> [UInt8] {
        now += .seconds(seconds)
        return exchange([])
    }

    private mutating func carryOut(_ action: ServerSession.Action) {
        switch action {
        case .send(let bytes): sent += bytes
        case .checkPassword(let user, let password):
            session.passwordChecked(
                isRight: user == Array("eve".utf8) && password == Array("secret".utf8), now: now)
        case .listDevices: session.devicesListed(devices)
        case .open(let name):
            if devices.contains(where: { $0.name == name }) {
                session.deviceOpened()
            } else {
                session.deviceRefused("there is no such device")
            }
        case .startCapture(let request):
            starts.append(request)
            if refuses {
                session.captureRefused("no")
            } else {
                session.captureStarted(bufferByteCount: bufferByteCount, dataPort: dataPort)
            }
        case .updateFilter:
            filters += 1
            refuses ? session.filterRefused("no") : session.filterUpdated()
        case .sample(let sampling): samplings.append(sampling)
        case .reportStatistics:
            session.report(CaptureStatistics(received: 0x22, sent: 0x0e))
        case .endCapture: session.captureEnded()
        case .note(let text, let said):
            notes.append(([text] + [said].compactMap { $0 }).joined(separator: ": "))
        case .close(let reason): closeReason = reason
        }
    }

    /// A session that has come to a state.
    static func inState(_ state: String, _ mode: ServerSession.Mode = .active) -> Driver {
        var driver = Driver(mode)
        let steps = ["A": 0, "R": 1, "O": 2, "C": 3][state] ?? 0
        for request in [Request.login, Request.open, Request.start].prefix(steps) {
            _ = driver.exchange(request)
        }
        return driver
    }
}

enum Request {
    static let login = hex("00 08 00 00 00 00 00 08  00 00 00 00 00 00 00 00")
    static let list = hex("00 02 00 00 00 00 00 00")
    static let open = hex("00 03 00 00 00 00 00 02 6c 6f")
    static let start = hex(
        """
        00 04 00 00 00 00 00 1c  00 00 ff ff 00 00 01 f4 00 04 9b 41  00 01 00 00 00 00 00 01
        00 06 00 00 00 00 ff ff
        """)
    static let update = hex(
        "00 05 00 00 00 00 00 10  00 01 00 00 00 00 00 01  00 06 00 00 ff ff ff ff")
    static let sampling = hex("00 0b 00 00 00 00 00 08  01 00 00 00 00 00 00 00")
    static let statistics = hex("00 09 00 00 00 00 00 00")
    static let end = hex("00 0a 00 00 00 00 00 00")
    static let close = hex("00 06 00 00 00 00 00 00")
    static let error = hex("00 01 00 03 00 00 00 02 6e 6f")
    static let packet = hex("00 07 00 00 00 00 00 00")
    static let reply = hex("00 88 00 00 00 00 00 00")
    static let unknown = hex("00 55 00 00 00 00 00 00")
    static let versioned = hex("01 02 00 00 00 00 00 00")
}
