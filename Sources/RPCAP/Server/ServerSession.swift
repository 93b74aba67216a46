import Addressing
package import Time

/// A control connection as the capturing side sees it: bytes in, actions out.
///
/// The session knows the protocol and the time, and nothing else; its driver owns the sockets and
/// the capture. The driver passes in what arrives, carries out the actions, says how those went that
/// need an answer, and comes back at `deadline`. While an answer is due, further requests wait in
/// order. Whatever a peer sends, the session stays within a fraction of a megabyte, in one of its
/// states.
package struct ServerSession: Sendable {
    package typealias Mode = SessionMode

    private enum State { case loggedOut, ready, opened, capturing, closed }

    private let mode: Mode
    private let logins: Logins
    /// Why no peer can log in now; nil if they can.
    package var loginRefusal: String?
    private var state = State.loggedOut
    /// The name in the last OPEN that succeeded.
    private var device: String?
    private var sampling = Sampling.none
    /// Why the capture has ended by itself, and when; nil if it has not.
    private var captureFailure: (reason: String, time: MonotonicTime)?
    private var actions: [Action] = []
    /// The request whose answer is due.
    private var awaited: MessageType?
    /// The name in an OPEN whose answer is due.
    private var requestedDevice: String?
    /// What was refused last, with the reason; nil if the capture began since.
    package private(set) var lastRefusal: Refusal?
    private var wrongPasswordCount = 0
    private var refusalCount = 0
    private var noteCount = 0
    /// When the next request is read, after a wrong password.
    private var heldUntil: MonotonicTime?
    private var reader = RequestReader()
    /// When the last message was complete, or the session began.
    private var quietSince: MonotonicTime

    /// A request that was refused.
    package struct Refusal: Equatable, Sendable {
        package let code: ErrorCode
        package let text: String
    }

    /// Why a session ends whose peer speaks TLS, and the agent does not.
    package static let tlsReason = "the peer speaks TLS, and this agent does not"

    /// The first byte of a peer that speaks TLS.
    package static let tlsHandshake = RequestReader.tlsHandshake

    package init(_ mode: Mode, logins: Logins = .null, now: MonotonicTime) {
        (self.mode, self.logins, quietSince) = (mode, logins, now)
    }

    package var isCapturing: Bool { state == .capturing }

    /// Whether the peer has logged in.
    package var isLoggedIn: Bool { state != .loggedOut && state != .closed }

    /// Whether the driver should read more; false while too much waits to be dealt with.
    package var wantsInput: Bool { reader.byteCount <= RequestReader.keptByteCountMax }

    /// The memory that the peer's bytes take.
    package var inputCapacity: Int { reader.capacity }

    package mutating func receive(_ bytes: ArraySlice<UInt8>, now: MonotonicTime) {
        guard state != .closed, !bytes.isEmpty else { return }
        reader.append(bytes, now: now)
    }

    /// Takes what to do next.
    ///
    /// - Returns: Nil until more arrives, an answer is given, or the deadline has come.
    package mutating func nextAction(now: MonotonicTime) -> Action? {
        while actions.isEmpty, awaited == nil, state != .closed, !expireFailedCapture(now) {
            if let time = heldUntil {
                guard now >= time else { return nil }
                heldUntil = nil
                quietSince = now
                reader.restartClock(now: now)
            }
            do throws(ProtocolFailure) {
                if let item = try reader.next(now: now) {
                    quietSince = now
                    handle(item)
                } else if !expire(now) {
                    return nil
                }
            } catch {
                refuse(error)
            }
        }
        return actions.isEmpty ? nil : actions.removeFirst()
    }
}

/// The requests, each in each state.
extension ServerSession {
    /// More tries than a peer needs that is merely mistaken.
    private static let refusalCountMax = 10
    /// A peer that reports errors without end must not fill the log.
    private static let noteCountMax = 10

    private mutating func handle(_ item: RequestReader.Item) {
        switch item {
        case .tlsHandshake(let version):
            // TLS's own "handshake failure", with the version that the peer named.
            actions.append(.send([0x15] + version + [0, 2, 2, 40]))
            close(Self.tlsReason)
        case .request(let type, let payload):
            guard let known = MessageType(rawValue: type) else { return refuseMessage(type) }
            handle(known, payload)
        }
    }

    private mutating func handle(_ type: MessageType, _ payload: [UInt8]) {
        switch (type, state) {
        case (.close, _): close("the peer closed the session")
        case (.error, .loggedOut): close("the peer refused: \(Message.printableText(payload))")
        case (.error, _): note("the peer reports an error", said: Message.printableText(payload))
        case (.packet, _): refuseMessage(type.rawValue)
        case (.login, .loggedOut): login(payload)
        case (.login, _): refuseMessage(type.rawValue, "this session is logged in already")
        case (_, .loggedOut): fail(.wrongMessage, "log in first")
        case (.findInterfaces, _): demand(.findInterfaces, .listDevices)
        case (.open, _): open(payload)
        case (.startCapture, _): start(payload)
        case (.updateFilter, _): update(payload)
        case (.statistics, _): demandStatistics()
        case (.endCapture, .capturing): demand(.endCapture, .endCapture)
        case (.endCapture, _): fail(.endCapture, "no capture is running")
        case (.setSampling, _): sample(payload)
        }
    }

    private mutating func refuse(_ failure: ProtocolFailure) {
        switch failure {
        case .wrongVersion(let version):
            drop(.wrongVersion, "\(failure)", version: version)
        default:
            drop(.wrongMessage, "\(failure)")
        }
    }

    private mutating func note(_ text: String, said: String? = nil) {
        noteCount += 1
        if noteCount <= Self.noteCountMax { actions.append(.note(text, said: said)) }
    }

    /// Refuses a type that no client may send.
    ///
    /// Before the login the peer may try again. A sensor may always go on, as with ExtraHop's daemon:
    /// a newer one may know messages that this agent does not.
    private mutating func refuseMessage(_ type: UInt8, _ reason: String? = nil) {
        let text = reason ?? "message type \(type) is not expected here"
        guard mode == .active || state == .loggedOut else { return drop(.wrongMessage, text) }
        if state != .loggedOut { note("the peer sent a message that is not expected", said: text) }
        fail(.wrongMessage, text)
    }

    /// Sends an error and goes on.
    private mutating func fail(_ code: ErrorCode, _ text: String) {
        lastRefusal = Refusal(code: code, text: text)
        actions.append(.send(Message.error(code, text)))
        guard state == .loggedOut else { return }
        note("login refused: \(text)")
        refusalCount += 1
        if refusalCount >= Self.refusalCountMax { close("the peer did not log in: \(text)") }
    }

    /// Sends an error for a request without which no packets come, or others than the peer wants.
    private mutating func refuse(_ code: ErrorCode, _ text: String) {
        note("request refused with error \(code.rawValue): \(text)")
        fail(code, text)
    }

    /// Sends an error and ends the session.
    private mutating func drop(_ code: ErrorCode, _ text: String, version: UInt8 = 0) {
        lastRefusal = Refusal(code: code, text: text)
        actions.append(.send(Message.error(code, text, version: version)))
        close(text)
    }

    private mutating func close(_ reason: String) {
        actions.append(.close(reason))
        state = .closed
    }

    /// Demands an action whose answer has to come before the next request is read.
    private mutating func demand(_ type: MessageType, _ action: Action) {
        awaited = type
        actions.append(action)
    }

    private mutating func login(_ payload: [UInt8]) {
        let request: LoginRequest
        do throws(ProtocolFailure) {
            request = try LoginRequest(payload.wire)
        } catch {
            return fail(.login, "\(error)")
        }
        if let loginRefusal { return drop(.network, loginRefusal) }
        switch request {
        case .null where logins.contains(.null):
            logIn()
            if mode == .passive { note("logged in without a password") }
        case .null: fail(.credentials, "the null login is not permitted, give name and password")
        case .password(let user, let password) where logins.contains(.password):
            demand(.login, .checkPassword(user: user, password: password))
        case .password: fail(.credentials, "this agent knows no users, use the null login")
        case .unknown: fail(.unknownLogin, "this kind of login is unknown")
        }
    }

    private mutating func logIn() {
        (state, lastRefusal) = (.ready, nil)
        actions.append(.send(Message.reply(to: .login, mode == .active ? [] : Self.versions)))
    }

    /// The reply to a login: version 0 to 0, and the magic number in this machine's byte order.
    ///
    /// It is not sent in active mode: a sensor's code need not be libpcap's, and the daemon that it
    /// knows answers with nothing.
    private static let versions: [UInt8] =
        [0, 0, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: nativeMagic >> ($0 * 8)) }

    /// The magic number as a machine of this byte order has it in memory, lowest byte first.
    private static let nativeMagic = UInt32(0xa1b2_c3d4).littleEndian

    private mutating func open(_ payload: [UInt8]) {
        guard payload.count <= Device.textByteCountMax, !payload.isEmpty else {
            return refuseDevice("a device's name has 1 to \(Device.textByteCountMax) bytes")
        }
        let name = String(decoding: payload, as: UTF8.self)
        requestedDevice = name
        demand(.open, .open(name))
    }

    private mutating func start(_ payload: [UInt8]) {
        guard let device else { return refuse(.startCapture, "open a device first") }
        guard state != .capturing || captureFailure != nil else {
            return refuse(.startCapture, "a capture is running, end it first")
        }
        do throws(ProtocolFailure) {
            var request = try StartRequest(payload.wire)
            request.device = device
            request.sampling = sampling
            guard request.dataPort > 0 || !serverOpens(request) else {
                return refuse(.startCapture, "the request names no port for the data")
            }
            demand(.startCapture, .startCapture(request))
        } catch {
            refuse(.startCapture, "\(error)")
        }
    }

    /// Whether the data goes to a port that the peer has named.
    private func serverOpens(_ request: StartRequest) -> Bool {
        mode == .active || request.flags.contains(.udp) || request.flags.contains(.serverOpens)
    }

    private mutating func update(_ payload: [UInt8]) {
        guard state == .capturing else { return refuse(.filter, "no capture is running") }
        if let captureFailure {
            return refuse(.filter, "the capture has ended: \(captureFailure.reason)")
        }
        do throws(ProtocolFailure) {
            demand(.updateFilter, .updateFilter(try Filter.decode(payload.wire)))
        } catch {
            refuse(.filter, "\(error)")
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
            return fail(.sampling, "the request is too short")
        }
        sampling = Sampling(payload.wire)
        if state == .capturing { actions.append(.sample(sampling)) }
        actions.append(.send(Message.reply(to: .setSampling)))
    }
}

/// The answers to actions that need one.
extension ServerSession {
    /// This many wrong passwords end the session.
    private static let wrongPasswordCountMax = 3
    /// The time for which requests wait after a wrong password.
    private static let wrongPasswordPause = Duration.seconds(1)
    /// DLT_EN10MB: every device shows Ethernet frames.
    private static let ethernet: UInt32 = 1

    package mutating func passwordChecked(isRight: Bool, now: MonotonicTime) {
        guard takeAwaited(.login) else { return }
        guard !isRight else { return logIn() }
        heldUntil = now + Self.wrongPasswordPause
        wrongPasswordCount += 1
        let text = "name or password is wrong"
        guard wrongPasswordCount < Self.wrongPasswordCountMax else {
            return drop(.credentials, text)
        }
        fail(.credentials, text)
    }

    /// Refuses a login that was right, and whose reply has not been taken yet.
    package mutating func withdrawLogin(_ text: String) {
        guard isLoggedIn else { return }
        actions = []
        drop(.network, text)
    }

    /// Refuses a login whose password was not looked at; the peer may try again, on this connection.
    package mutating func passwordNotChecked(_ text: String, now: MonotonicTime) {
        guard takeAwaited(.login) else { return }
        heldUntil = now + Self.wrongPasswordPause
        fail(.network, text)
    }

    package mutating func devicesListed(_ devices: [Device]) {
        guard takeAwaited(.findInterfaces) else { return }
        let (count, payload) = Device.encode(devices)
        if count == 0 {
            fail(.noInterfaces, "there is nothing to capture from")
        } else {
            actions.append(.send(Message.reply(to: .findInterfaces, value: count, payload)))
        }
    }

    package mutating func deviceOpened() {
        guard takeAwaited(.open) else { return }
        device = requestedDevice
        if state == .ready { state = .opened }
        var reply: [UInt8] = []
        reply.append(bigEndian: Self.ethernet)
        reply.append(bigEndian: UInt32(0))
        actions.append(.send(Message.reply(to: .open, reply)))
    }

    package mutating func deviceRefused(_ text: String) {
        if takeAwaited(.open) { refuseDevice(text) }
    }

    /// Refuses an OPEN, and closes the device that was open before.
    ///
    /// A client that ignores the error must not capture from that one instead.
    private mutating func refuseDevice(_ text: String) {
        device = nil
        if state == .opened { state = .ready }
        refuse(.open, text)
    }

    /// Confirms that the capture runs.
    ///
    /// - Parameters:
    ///   - bufferByteCount: The size of the client's receive buffer; 0 leaves it to TCP.
    ///   - dataPort: The port to connect to, if the client opens the data connection.
    package mutating func captureStarted(bufferByteCount: UInt32 = 0, dataPort: UInt16 = 0) {
        guard takeAwaited(.startCapture) else { return }
        state = .capturing
        (captureFailure, lastRefusal) = (nil, nil)
        let reply = StartReply(bufferByteCount: bufferByteCount, dataPort: dataPort)
        actions.append(.send(Message.reply(to: .startCapture, reply.bytes)))
    }

    package mutating func captureRefused(_ text: String) {
        guard takeAwaited(.startCapture) else { return }
        if state == .capturing { state = .opened }
        captureFailure = nil
        fail(.startCapture, text)
    }

    /// Records that the capture has ended by itself.
    ///
    /// The peer learns it from the end of the data connection. It can still ask for the last counts,
    /// end the capture, or start another one.
    package mutating func captureFailed(_ reason: String, now: MonotonicTime) {
        guard state == .capturing, captureFailure == nil else { return }
        captureFailure = (reason, now)
        quietSince = now
    }

    package mutating func filterUpdated() {
        if takeAwaited(.updateFilter) { actions.append(.send(Message.reply(to: .updateFilter))) }
    }

    package mutating func filterRefused(_ text: String) {
        if takeAwaited(.updateFilter) { refuse(.filter, text) }
    }

    package mutating func report(_ statistics: CaptureStatistics) {
        guard takeAwaited(.statistics) else { return }
        actions.append(.send(Message.reply(to: .statistics, statistics.bytes)))
    }

    package mutating func captureEnded() {
        guard takeAwaited(.endCapture) else { return }
        state = device == nil ? .ready : .opened
        captureFailure = nil
        actions.append(.send(Message.reply(to: .endCapture)))
    }

    /// Marks the request as answered.
    ///
    /// - Returns: False if no answer to such a request is due.
    private mutating func takeAwaited(_ type: MessageType) -> Bool {
        guard awaited == type, state != .closed else { return false }
        awaited = nil
        return true
    }
}

/// The times after which a peer is dropped.
extension ServerSession {
    /// Silence before the login and after it, in passive mode only; both as in the reference.
    private static let loginTimeMax = Duration.seconds(90)
    private static let idleTimeMax = Duration.seconds(180)
    /// The time that a sensor has to end a capture which has ended by itself, or to start another one.
    ///
    /// Nothing else that it asks for stops this clock: an agent whose sensor does not know of the end
    /// would send nothing for ever. When it dials anew the sensor begins from the start.
    private static let failedCaptureTimeMax = Duration.seconds(30)

    /// When to call `nextAction` again, even if nothing has arrived; nil for never.
    package var deadline: MonotonicTime? {
        guard state != .closed, awaited == nil else { return nil }
        if let heldUntil { return heldUntil }
        return [reader.deadline ?? idleDeadline, failedCaptureDeadline].compactMap { $0 }.min()
    }

    /// When a sensor is dropped whose capture has ended by itself; nil if none has.
    private var failedCaptureDeadline: MonotonicTime? {
        guard mode == .active, let captureFailure else { return nil }
        return captureFailure.time + Self.failedCaptureTimeMax
    }

    /// Drops a sensor that has done nothing about the end of its capture.
    ///
    /// - Returns: Whether it was.
    private mutating func expireFailedCapture(_ now: MonotonicTime) -> Bool {
        guard let captureFailure, let failedCaptureDeadline, now >= failedCaptureDeadline else {
            return false
        }
        let seconds = Self.failedCaptureTimeMax.components.seconds
        drop(
            .idleTimeout, "\(captureFailure.reason), and no capture was begun within \(seconds) s")
        return true
    }

    /// The time for which a peer may be silent now; nil for any time.
    private var silenceMax: Duration? {
        switch (state, mode) {
        case (.capturing, .passive): return captureFailure == nil ? nil : Self.idleTimeMax
        case (.closed, _), (_, .active): return nil
        case (.loggedOut, .passive): return Self.loginTimeMax
        case (.ready, .passive), (.opened, .passive): return Self.idleTimeMax
        }
    }

    private var idleDeadline: MonotonicTime? { silenceMax.map { quietSince + $0 } }

    /// Drops a peer whose time is over.
    ///
    /// - Returns: Whether it was.
    private mutating func expire(_ now: MonotonicTime) -> Bool {
        if reader.isInMessage {
            guard reader.isLate(now: now) else { return false }
            let seconds = RequestReader.messageTimeMax.components.seconds
            drop(.idleTimeout, "a message was left unfinished for \(seconds) s")
        } else {
            guard let silenceMax, now >= quietSince + silenceMax else { return false }
            let text = "nothing was asked for \(silenceMax.components.seconds) s"
            drop(.idleTimeout, captureFailure.map { "\($0.reason), and \(text)" } ?? text)
        }
        return true
    }
}
