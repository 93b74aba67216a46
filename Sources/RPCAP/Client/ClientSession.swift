package import BPF

import Addressing
import Packets

/// One control connection as the side that asks sees it: bytes in, actions out.
///
/// It logs in, lists the devices, opens one, asks for sampling where that is wanted, and has its
/// driver make ready for the data. The driver starts the capture, asks for statistics whenever it
/// likes, and ends it. Time is handed in, too: an answer that is late ends the session. It checks
/// what libpcap's client checks, and takes every text from the peer for a text.
package struct ClientSession: Sendable {
    /// Who dialled: the roles are the same from the first byte on, a few details are not.
    package enum Mode: Sendable {
        case active
        case passive
    }

    /// What the session is for.
    package struct Wish: Equatable, Sendable {
        package var login = LoginRequest.null
        /// The device to open; nil takes what the peer has marked, or else its first.
        package var device: String?
        package var sampling = Sampling.none
        /// Whether to end when the devices are known.
        package var listsOnly = false

        package init() {}
    }

    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// What can be captured from, where the wish was to know that.
        case listed([Device])
        /// This device is open, and shows packets of this link type of capture files. Make ready
        /// for the data, and call `start`.
        case prepare(Device, linkType: UInt16)
        /// The capture runs; the data connection is there or about to be.
        case started(StartReply)
        case statistics(CaptureStatistics)
        /// Something a person may want to read.
        case note(String)
        case ended
        /// Close the connection. No action follows.
        case close(String)
    }

    private enum State: Equatable {
        case idle
        case waiting(MessageType)
        case closed
    }

    package let mode: Mode
    private let wish: Wish
    private var state = State.waiting(.login)
    private var reader = MessageReader(payloadByteCountMax: payloadByteCountMax)
    private var actions: [Action]
    private var device: Device?
    private var linkType: UInt16 = 0
    /// Whether the capture that was asked for has this side connect for its data.
    private var clientOpens = false
    /// At most one of each type: what is asked again before it was sent is asked once.
    private var waitingRequests: [(type: MessageType, payload: [UInt8])] = []
    private var now: UInt64
    /// When the answer that is due comes too late; nil while none is.
    package private(set) var deadline: UInt64?
    package private(set) var isCapturing = false

    /// libpcap's server answers with at most 64,000 bytes; other lists are seen, but none of this
    /// size.
    package static let payloadByteCountMax = 4 << 20
    /// So long a whole answer may take. A peer that says nothing at all is no agent.
    package static let answerNanosecondsMax: UInt64 = 30_000_000_000

    package init(_ mode: Mode, _ wish: Wish = Wish(), now: UInt64) {
        (self.mode, self.wish, self.now) = (mode, wish, now)
        actions = [.send(Message.request(.login, wish.login.bytes))]
        deadline = now &+ Self.answerNanosecondsMax
    }

    package mutating func receive(_ bytes: ArraySlice<UInt8>, now: UInt64) {
        self.now = now
        if state != .closed { reader.append(bytes) }
    }

    /// Ends the session if an answer is late.
    package mutating func check(now: UInt64) {
        self.now = now
        guard let deadline, now > deadline, case .waiting(let type) = state else { return }
        let seconds = Self.answerNanosecondsMax / 1_000_000_000
        close("the peer has not answered within \(seconds) s when asked for \(type.meaning)")
    }

    /// What to do next, or nil until more arrives or is asked for.
    package mutating func nextAction() -> Action? {
        while actions.isEmpty, state != .closed {
            do throws(ProtocolFailure) {
                guard let header = try reader.header(),
                    let payload = reader.takePayload(byteCount: Int(header.payloadByteCount))
                else { return nil }
                try handle(header, payload)
            } catch {
                close("\(error)")
            }
        }
        return actions.isEmpty ? nil : actions.removeFirst()
    }

    /// Whether no answer is due.
    package var isIdle: Bool { state == .idle && waitingRequests.isEmpty }

    /// Asks for the capture that `prepare` was told to make ready.
    package mutating func start(_ request: StartRequest, now: UInt64) {
        clientOpens = mode == .passive && request.flags.isDisjoint(with: [.udp, .serverOpens])
        ask(.startCapture, request.bytes, now: now)
    }

    package mutating func askForStatistics(now: UInt64) {
        ask(.statistics, now: now)
    }

    package mutating func updateFilter(_ instructions: [Instruction], now: UInt64) {
        ask(.updateFilter, Filter.encode(instructions), now: now)
    }

    package mutating func end(now: UInt64) {
        ask(.endCapture, now: now)
    }

    /// Says goodbye; the connection can be closed when that has been sent. An agent that dialled
    /// is told nothing: the daemons that podwire replaces would never dial again.
    package mutating func close() {
        guard state != .closed else { return }
        if mode == .passive { actions.append(.send(Message.request(.close))) }
        close("closed by this side")
    }
}

extension ClientSession {
    /// Requests go out one at a time: an error does not say which one it answers.
    private mutating func ask(_ type: MessageType, _ payload: [UInt8] = [], now: UInt64) {
        self.now = now
        switch state {
        case .closed: break
        case .waiting:
            waitingRequests.removeAll { $0.type == type }
            waitingRequests.append((type, payload))
        case .idle:
            state = .waiting(type)
            deadline = now &+ Self.answerNanosecondsMax
            actions.append(.send(Message.request(type, payload)))
        }
    }

    private mutating func ask(_ type: MessageType, _ payload: [UInt8] = []) {
        ask(type, payload, now: now)
    }

    private mutating func close(_ reason: String) {
        guard state != .closed else { return }
        actions.append(.close(reason))
        state = .closed
        deadline = nil
        waitingRequests = []
    }

    private mutating func handle(
        _ header: MessageHeader, _ payload: [UInt8]
    ) throws(ProtocolFailure) {
        if header.type == MessageType.error.rawValue {
            try handleError(code: header.value, Message.printableText(payload))
        } else {
            guard case .waiting(let type) = state, header.type == type.reply else {
                throw .unexpected(type: header.type)
            }
            (state, deadline) = (.idle, nil)
            try handle(type, header, payload)
        }
        if state == .idle, !waitingRequests.isEmpty {
            let (type, payload) = waitingRequests.removeFirst()
            ask(type, payload)
        }
    }

    /// What is only nice to have may be refused; without the rest there is no capture. Some daemons
    /// report, unasked, that reading packets has failed: their capture is over, whatever was asked.
    private mutating func handleError(
        code: UInt16, _ text: String
    ) throws(ProtocolFailure) {
        let failure = ProtocolFailure.refused(code: code, text: text)
        guard case .waiting(let type) = state, code != ErrorCode.reading.rawValue else {
            throw failure
        }
        switch type {
        case .statistics, .updateFilter, .setSampling, .endCapture:
            (state, deadline) = (.idle, nil)
            actions.append(.note("\(type.meaning): \(failure)"))
            if type == .setSampling { prepare() }
            if type == .endCapture { hasEnded() }
        default: throw failure
        }
    }

    private mutating func handle(
        _ type: MessageType, _ header: MessageHeader, _ payload: [UInt8]
    ) throws(ProtocolFailure) {
        switch type {
        case .login:
            try ReplyCheck.login(payload)
            ask(.findInterfaces)
        case .findInterfaces:
            try choose(Device.decode(count: Int(header.value), payload.wire))
        case .open:
            linkType = try ReplyCheck.open(payload)
            if wish.sampling == .none {
                prepare()
            } else {
                ask(.setSampling, wish.sampling.bytes)
            }
        case .setSampling: prepare()
        case .startCapture:
            let reply = try StartReply(payload)
            guard reply.dataPort != 0 || !clientOpens else {
                throw .malformed("the start reply names no port to fetch the packets from")
            }
            isCapturing = true
            actions.append(.started(reply))
        case .statistics:
            guard payload.count >= CaptureStatistics.byteCount else {
                throw .tooShort("statistics reply")
            }
            actions.append(.statistics(CaptureStatistics(payload.wire)))
        case .endCapture: hasEnded()
        case .updateFilter: break
        case .error, .close, .packet: throw .unexpected(type: header.type)
        }
    }

    private mutating func choose(_ devices: [Device]) throws(ProtocolFailure) {
        guard !wish.listsOnly else {
            actions.append(.listed(devices))
            return close("closed by this side")
        }
        let chosen = try ReplyCheck.choose(wish.device, from: devices)
        device = chosen
        ask(.open, [UInt8](chosen.name.utf8))
    }

    private mutating func prepare() {
        if let device { actions.append(.prepare(device, linkType: linkType)) }
    }

    private mutating func hasEnded() {
        isCapturing = false
        actions.append(.ended)
    }
}

extension MessageType {
    /// What is asked for with such a request, for people.
    fileprivate var meaning: String {
        switch self {
        case .login: "a login"
        case .findInterfaces: "its devices"
        case .open: "a device"
        case .startCapture: "a capture"
        case .updateFilter: "another filter"
        case .statistics: "statistics"
        case .endCapture: "the end of the capture"
        case .setSampling: "sampling"
        case .error, .close, .packet: "nothing"
        }
    }
}
