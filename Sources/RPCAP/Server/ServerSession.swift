package import BPF

import Frames

/// One control connection as the side that captures sees it: bytes in, actions out.
///
/// The session knows the protocol and nothing else; whoever drives it owns the sockets and the
/// capture. It gives the session what arrives, carries out the actions that come back, and says how
/// those that need an answer went. While an answer is due further requests wait, in order. Whatever
/// a peer sends, the session stays within a megabyte and in one of its four states.
package struct ServerSession: Sendable {
    /// Who dialled: the roles are the same from the first byte on, a few details are not.
    package enum Mode: Sendable {
        case active
        case passive
    }

    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// Open the data connection and capture; then `captureStarted` or `captureRefused`.
        case startCapture(StartRequest)
        /// Put a filter in force; then `filterUpdated` or `filterRefused`.
        case updateFilter([Instruction])
        /// Then `report`.
        case reportStatistics
        /// Stop the capture and close the data connection; then `captureEnded`.
        case endCapture
        /// Something a person may want to read.
        case note(String)
        /// Close the connection; a capture that runs ends with it. No action follows.
        case close(String)
    }

    private enum State { case loggedOut, ready, opened, capturing, closed }

    private let mode: Mode
    private let devices: [Device]
    private var state = State.loggedOut
    private var device: String?
    private var reader = MessageReader(payloadByteCountMax: payloadByteCountMax)
    private var actions: [Action] = []
    /// The request whose answer is due.
    private var awaited: MessageType?

    /// The longest request is a filter of 8,192 instructions, 64 KiB; a password is shorter.
    package static let payloadByteCountMax = 1 << 20

    package init(_ mode: Mode, devices: [Device]) {
        (self.mode, self.devices) = (mode, devices)
    }

    package var isCapturing: Bool { state == .capturing }

    /// False while so much waits to be dealt with that the driver should not read more.
    package var wantsInput: Bool { reader.byteCount <= Self.payloadByteCountMax }

    /// Whether a message has begun to arrive and is not complete. The driver gives up on a peer
    /// that leaves it so.
    package var isInMessage: Bool { awaited == nil && reader.byteCount > 0 }

    /// How many messages have been taken off the stream.
    package var messageCount: Int { reader.messageCount }

    package mutating func receive(_ bytes: ArraySlice<UInt8>) {
        if state != .closed { reader.append(bytes) }
    }

    /// What to do next, or nil until more arrives or an answer is given.
    package mutating func nextAction() -> Action? {
        while actions.isEmpty, awaited == nil, state != .closed {
            do throws(ProtocolFailure) {
                guard try handleMessage() else { return nil }
            } catch {
                refuse(error)
            }
        }
        return actions.isEmpty ? nil : actions.removeFirst()
    }

    /// Takes one message off the stream, if it has arrived whole.
    private mutating func handleMessage() throws(ProtocolFailure) -> Bool {
        guard let header = try reader.header() else { return false }
        let byteCount = Int(header.payloadByteCount)
        if header.type == MessageType.startCapture.rawValue, byteCount == 20 {
            guard let extra = extraByteCount else { return false }
            guard let payload = reader.takePayload(byteCount: byteCount + extra) else {
                return false
            }
            handle(.startCapture, payload)
            return true
        }
        guard let payload = reader.takePayload(byteCount: byteCount) else { return false }
        guard let type = MessageType(rawValue: header.type) else {
            unexpected(header.type)
            return true
        }
        handle(type, payload)
        return true
    }

    /// libpcap's client, where no filter was ever set, announces 20 bytes and sends 28: the last
    /// eight are the one instruction it counted. Nil until that can be told.
    private var extraByteCount: Int? {
        guard let head = reader.peek(12..<20) else { return nil }
        guard head[4...] == [0, 0, 0, 1] else { return 0 }
        guard let step = reader.peek(20..<28) else { return nil }
        return step[..<4] == [0, 6, 0, 0] && step[4...] != [0, 0, 0, 0] ? 8 : 0
    }

    private mutating func refuse(_ failure: ProtocolFailure) {
        switch failure {
        case .wrongVersion(let version):
            drop(.wrongVersion, "\(failure)", version: version)
        default:
            drop(.wrongMessage, "\(failure)")
        }
    }
}

extension ServerSession {
    private mutating func handle(_ type: MessageType, _ payload: [UInt8]) {
        switch (type, state) {
        case (.close, _): close("the peer closed the session")
        case (.error, .loggedOut): close("the peer refused: \(Self.text(of: payload))")
        case (.error, _): actions.append(.note("the peer reports: \(Self.text(of: payload))"))
        case (.packet, _): unexpected(type.rawValue)
        case (.login, .loggedOut): login(payload)
        case (.login, _): drop(.wrongMessage, "this session is logged in already")
        case (_, .loggedOut): error(.wrongMessage, "log in first")
        case (.findInterfaces, _): list()
        case (.open, _): open(payload)
        case (.startCapture, _): start(payload)
        case (.updateFilter, _): update(payload)
        case (.statistics, _): demandStatistics()
        case (.endCapture, .capturing): demand(.endCapture, .endCapture)
        case (.endCapture, _): error(.endCapture, "no capture is running")
        case (.setSampling, _): sample(payload)
        }
    }

    private static func text(of payload: [UInt8]) -> String {
        let text = payload.prefix(Message.errorTextByteCountMax).map { byte in
            (0x20...0x7e).contains(byte) ? byte : UInt8(ascii: "?")
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Nobody may send this. Before login the peer gets another try.
    private mutating func unexpected(_ type: UInt8) {
        let text = "message type \(type) is not expected here"
        if state == .loggedOut { error(.wrongMessage, text) } else { drop(.wrongMessage, text) }
    }

    private mutating func error(_ code: ErrorCode, _ text: String) {
        actions.append(.send(Message.error(code, text)))
    }

    private mutating func drop(_ code: ErrorCode, _ text: String, version: UInt8 = 0) {
        actions.append(.send(Message.error(code, text, version: version)))
        close(text)
    }

    private mutating func close(_ reason: String) {
        actions.append(.close(reason))
        state = .closed
    }

    private mutating func demand(_ type: MessageType, _ action: Action) {
        awaited = type
        actions.append(action)
    }

    private mutating func login(_ payload: [UInt8]) {
        let bytes = payload.wire
        guard bytes.byteCount >= 8,
            8 + Int(bytes.uint16(at: 4)) + Int(bytes.uint16(at: 6)) <= bytes.byteCount
        else { return error(.login, "the login request is too short") }
        switch bytes.uint16(at: 0) {
        case 0:
            state = .ready
            actions.append(.send(Message.reply(to: .login, mode == .active ? [] : Self.versions)))
        case 1: error(.credentials, "this agent knows no users, use the null login")
        default: error(.unknownLogin, "this kind of login is unknown")
        }
    }

    /// Version 0 to 0, and the magic number in this machine's own byte order. A sensor's code need
    /// not be libpcap's, and the daemon it knows answers with nothing in active mode.
    private static let versions: [UInt8] =
        [0, 0, 0, 0] + (0..<4).map { UInt8(truncatingIfNeeded: nativeMagic >> ($0 * 8)) }

    /// The magic number as a machine of this byte order has it in memory, lowest byte first.
    private static let nativeMagic = UInt32(0xa1b2_c3d4).littleEndian

    private mutating func list() {
        let (count, payload) = Device.encode(devices)
        if count == 0 {
            error(.noInterfaces, "there is nothing to capture from")
        } else {
            actions.append(.send(Message.reply(to: .findInterfaces, value: count, payload)))
        }
    }

    private mutating func open(_ payload: [UInt8]) {
        let name = String(decoding: payload, as: UTF8.self)
        guard devices.contains(where: { $0.name == name }) else {
            // What was open before must not be captured by a client that does not look.
            device = nil
            if state == .opened { state = .ready }
            return error(.open, "there is no such device; list the devices to see their names")
        }
        device = name
        if state == .ready { state = .opened }
        var reply: [UInt8] = []
        reply.append(bigEndian: Self.ethernet)
        reply.append(bigEndian: UInt32(0))
        actions.append(.send(Message.reply(to: .open, reply)))
    }

    /// DLT_EN10MB: every device shows Ethernet frames.
    private static let ethernet: UInt32 = 1

    private mutating func start(_ payload: [UInt8]) {
        guard let device else { return error(.startCapture, "open a device first") }
        guard state != .capturing else {
            return error(.startCapture, "a capture is running, end it first")
        }
        do throws(ProtocolFailure) {
            var request = try StartRequest(payload.wire)
            request.device = device
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

    /// Accepted and not applied, as the reference does: its client always asks for nothing.
    private mutating func sample(_ payload: [UInt8]) {
        guard payload.count >= 8 else { return error(.sampling, "the request is too short") }
        actions.append(.send(Message.reply(to: .setSampling)))
    }
}

/// How the actions went that need an answer.
extension ServerSession {
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
        state = .opened
        actions.append(.send(Message.reply(to: .endCapture)))
    }

    private mutating func answer(_ type: MessageType) -> Bool {
        guard awaited == type, state != .closed else { return false }
        awaited = nil
        return true
    }
}
