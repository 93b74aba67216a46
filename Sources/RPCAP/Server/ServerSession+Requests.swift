import Addressing

/// What a session makes of each message in each of its states.
extension ServerSession {
    mutating func handle(_ type: MessageType, _ payload: [UInt8], _ now: UInt64) {
        switch (type, state) {
        case (.close, _): close("the peer closed the session")
        case (.error, .loggedOut): close("the peer refused: \(Message.printableText(payload))")
        case (.error, _): note("the peer reports an error", said: Message.printableText(payload))
        case (.packet, _): unexpected(type.rawValue)
        case (.login, .loggedOut): login(payload)
        case (.login, _): drop(.wrongMessage, "this session is logged in already")
        case (_, .loggedOut): error(.wrongMessage, "log in first")
        case (.findInterfaces, _): demand(.findInterfaces, .listDevices)
        case (.open, _): open(payload)
        case (.startCapture, _): start(payload)
        case (.updateFilter, _): update(payload)
        case (.statistics, _): demandStatistics()
        case (.endCapture, .capturing): demand(.endCapture, .endCapture)
        case (.endCapture, _): error(.endCapture, "no capture is running")
        case (.setSampling, _): sample(payload)
        }
    }

    /// A peer that reports errors without end must not fill the log.
    private static let noteCountMax = 10

    private mutating func note(_ text: String, said: String? = nil) {
        noteCount += 1
        if noteCount <= Self.noteCountMax { actions.append(.note(text, said: said)) }
    }

    /// Nobody may send this. Before login the peer gets another try.
    mutating func unexpected(_ type: UInt8) {
        let text = "message type \(type) is not expected here"
        if state == .loggedOut { error(.wrongMessage, text) } else { drop(.wrongMessage, text) }
    }

    /// More tries than a peer needs that has only mistaken itself.
    private static let refusalCountMax = 10

    mutating func error(_ code: ErrorCode, _ text: String) {
        actions.append(.send(Message.error(code, text)))
        guard state == .loggedOut else { return }
        note("login refused: \(text)")
        refusalCount += 1
        if refusalCount >= Self.refusalCountMax { close("the peer did not log in: \(text)") }
    }

    mutating func drop(_ code: ErrorCode, _ text: String, version: UInt8 = 0) {
        actions.append(.send(Message.error(code, text, version: version)))
        close(text)
    }

    mutating func close(_ reason: String) {
        actions.append(.close(reason))
        state = .closed
    }

    private mutating func demand(_ type: MessageType, _ action: Action) {
        awaited = type
        actions.append(action)
    }

    private mutating func login(_ payload: [UInt8]) {
        let request: LoginRequest
        do throws(ProtocolFailure) {
            request = try LoginRequest(payload.wire)
        } catch {
            return self.error(.login, "\(error)")
        }
        if let loginRefusal { return drop(.network, loginRefusal) }
        switch request {
        case .null where logins.contains(.null):
            logIn()
            if mode == .passive { note("logged in without a password") }
        case .null: error(.credentials, "the null login is not permitted, give name and password")
        case .password(let user, let password) where logins.contains(.password):
            demand(.login, .checkPassword(user: user, password: password))
        case .password: error(.credentials, "this agent knows no users, use the null login")
        case .unknown: error(.unknownLogin, "this kind of login is unknown")
        }
    }

    mutating func logIn() {
        state = .ready
        actions.append(.send(Message.reply(to: .login, mode == .active ? [] : Self.versions)))
    }

    /// Version 0 to 0, and the magic number in this machine's own byte order. A sensor's code need
    /// not be libpcap's, and the daemon it knows answers with nothing in active mode.
    private static let versions: [UInt8] =
        [0, 0, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: nativeMagic >> ($0 * 8)) }

    /// The magic number as a machine of this byte order has it in memory, lowest byte first.
    private static let nativeMagic = UInt32(0xa1b2_c3d4).littleEndian

    private mutating func open(_ payload: [UInt8]) {
        guard payload.count <= Device.textByteCountMax, !payload.isEmpty else {
            return refuseDevice("a device's name has 1 to \(Device.textByteCountMax) bytes")
        }
        let name = String(decoding: payload, as: UTF8.self)
        deviceAsked = name
        demand(.open, .open(name))
    }

    private mutating func start(_ payload: [UInt8]) {
        guard let device else { return error(.startCapture, "open a device first") }
        guard state != .capturing else {
            return error(.startCapture, "a capture is running, end it first")
        }
        do throws(ProtocolFailure) {
            var request = try StartRequest(payload.wire)
            request.device = device
            request.sampling = sampling
            demand(.startCapture, .startCapture(request))
        } catch {
            self.error(.startCapture, "\(error)")
        }
    }

    private mutating func update(_ payload: [UInt8]) {
        guard state == .capturing else { return error(.filter, "no capture is running") }
        do throws(ProtocolFailure) {
            demand(.updateFilter, .updateFilter(try Filter.decode(payload.wire)))
        } catch {
            self.error(.filter, "\(error)")
        }
    }

    private mutating func demandStatistics() {
        if state == .capturing {
            demand(.statistics, .reportStatistics)
        } else {
            actions.append(.send(Message.reply(to: .statistics, CaptureStatistics().bytes)))
        }
    }

    private mutating func sample(_ payload: [UInt8]) {
        guard payload.count >= Sampling.byteCount else {
            return error(.sampling, "the request is too short")
        }
        sampling = Sampling(payload.wire)
        if state == .capturing { actions.append(.sample(sampling)) }
        actions.append(.send(Message.reply(to: .setSampling)))
    }
}
