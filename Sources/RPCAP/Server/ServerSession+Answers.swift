import Addressing

/// How the actions went that need an answer.
extension ServerSession {
    /// As many wrong passwords end the session.
    private static let wrongPasswordCountMax = 3
    /// How long the peer has to wait after one.
    private static let wrongPasswordNanoseconds: UInt64 = 1_000_000_000

    package mutating func passwordChecked(isRight: Bool, now: UInt64) {
        guard answer(.login) else { return }
        guard !isRight else { return logIn() }
        heldUntil = now + Self.wrongPasswordNanoseconds
        wrongPasswordCount += 1
        let text = "name or password is wrong"
        guard wrongPasswordCount < Self.wrongPasswordCountMax else {
            return drop(.credentials, text)
        }
        error(.credentials, text)
    }

    package mutating func devicesListed(_ devices: [Device]) {
        guard answer(.findInterfaces) else { return }
        let (count, payload) = Device.encode(devices)
        if count == 0 {
            error(.noInterfaces, "there is nothing to capture from")
        } else {
            actions.append(.send(Message.reply(to: .findInterfaces, value: count, payload)))
        }
    }

    package mutating func deviceOpened() {
        guard answer(.open) else { return }
        device = deviceAsked
        if state == .ready { state = .opened }
        var reply: [UInt8] = []
        reply.append(bigEndian: Self.ethernet)
        reply.append(bigEndian: UInt32(0))
        actions.append(.send(Message.reply(to: .open, reply)))
    }

    /// DLT_EN10MB: every device shows Ethernet frames.
    private static let ethernet: UInt32 = 1

    package mutating func deviceRefused(_ text: String) {
        if answer(.open) { refuseDevice(text) }
    }

    /// What was open before must not be captured by a client that does not look.
    mutating func refuseDevice(_ text: String) {
        device = nil
        if state == .opened { state = .ready }
        error(.open, text)
    }

    /// - Parameters:
    ///   - bufferByteCount: how large the client should make its receive buffer; 0 leaves it to TCP.
    ///   - dataPort: where the client connects to, if it is the one who does.
    package mutating func captureStarted(bufferByteCount: UInt32 = 0, dataPort: UInt16 = 0) {
        guard answer(.startCapture) else { return }
        state = .capturing
        var reply: [UInt8] = []
        reply.append(bigEndian: bufferByteCount)
        reply.append(bigEndian: dataPort)
        reply.append(bigEndian: UInt16(0))
        actions.append(.send(Message.reply(to: .startCapture, reply)))
    }

    package mutating func captureRefused(_ text: String) {
        if answer(.startCapture) { error(.startCapture, text) }
    }

    package mutating func filterUpdated() {
        if answer(.updateFilter) { actions.append(.send(Message.reply(to: .updateFilter))) }
    }

    package mutating func filterRefused(_ text: String) {
        if answer(.updateFilter) { error(.filter, text) }
    }

    package mutating func report(_ statistics: CaptureStatistics) {
        guard answer(.statistics) else { return }
        actions.append(.send(Message.reply(to: .statistics, statistics.bytes)))
    }

    package mutating func captureEnded() {
        guard answer(.endCapture) else { return }
        state = device == nil ? .ready : .opened
        actions.append(.send(Message.reply(to: .endCapture)))
    }

    private mutating func answer(_ type: MessageType) -> Bool {
        guard awaited == type, state != .closed else { return false }
        awaited = nil
        return true
    }
}
