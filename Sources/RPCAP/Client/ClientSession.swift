package import Addressing
package import BPF
package import Time

/// A control connection as the client sees it: bytes in, actions out.
///
/// It logs in, lists the devices, opens one, asks for sampling if that is wanted, and has its driver
/// prepare for the data. The driver starts the capture, asks for statistics at any time, and ends
/// the capture. Time is passed in: a late reply ends the session. The session checks what libpcap's
/// client checks, and treats every text from the peer as nothing but text.
package struct ClientSession: Sendable {
    package typealias Mode = SessionMode

    /// The purpose of a session.
    package struct Goal: Equatable, Sendable {
        package var login = LoginRequest.null
        /// The device to open; nil takes the one that the peer has marked, or else its first.
        package var device: String?
        /// The pod whose device to open, as `"shop/web-1"`; nil for none.
        ///
        /// While the peer has no such pod the session waits: `askForDevices` looks again.
        package var pod: PodName?
        package var sampling = Sampling.none
        /// Whether the driver is told the devices of an agent of podwire as soon as they are known.
        package var namesPods = false
        /// Whether the session ends when the devices are known.
        package var listsOnly = false

        package init() {}
    }

    /// A step that the driver has to take.
    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// The devices that can be captured from, if the goal wants to know them, or they were asked
        /// for again.
        case listed([Device])
        /// Prepare for the data of a device that is open; then call `start`.
        ///
        /// The link type is the number that capture files have for the device's packets.
        case prepare(Device, linkType: UInt16)
        /// The capture runs; the data connection is open or about to be.
        case started(StartReply)
        case statistics(CaptureStatistics)
        /// Something that a person may want to read.
        case note(String)
        /// The peer has ended the capture.
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
    private let goal: Goal
    private var state = State.waiting(.login)
    private var reader = MessageReader(payloadByteCountMax: payloadByteCountMax)
    private var actions: [Action]
    private var device: Device?
    /// The addresses by which others may know the peer's host: those of its device, then of others.
    ///
    /// A loopback or link-local address means another host elsewhere.
    package private(set) var peerAddresses: [IPAddress] = []
    /// Whether the peer names pods: it is an agent of podwire.
    package private(set) var offersPods = false
    private var linkType: UInt16 = 0
    /// Whether this side opens the data connection of the capture that was asked for.
    private var clientOpens = false
    /// Requests that wait for their turn, at most one of each type.
    private var waitingRequests: [(type: MessageType, payload: [UInt8])] = []
    /// When the reply that is due is late; nil while none is due.
    package private(set) var deadline: MonotonicTime?
    /// What was wrong with the peer's answer, if that has ended the session.
    package private(set) var failure: ProtocolFailure?
    /// Whether a capture runs.
    package private(set) var isCapturing = false

    /// The longest reply that is read.
    ///
    /// libpcap's server sends lists of at most 64,000 bytes.
    package static let payloadByteCountMax = 4 << 20
    /// The time in which a whole reply has to arrive.
    ///
    /// A peer that says nothing is no agent.
    package static let replyTimeMax = Duration.seconds(30)

    /// The most addresses of a peer that are kept, more than an agent's host has.
    ///
    /// A reply has room for thousands, and there may be hundreds of peers.
    private static let peerAddressCountMax = 64

    package init(_ mode: Mode, _ goal: Goal = Goal(), now: MonotonicTime) {
        (self.mode, self.goal) = (mode, goal)
        actions = [.send(Message.request(.login, goal.login.bytes))]
        deadline = now + Self.replyTimeMax
    }

    package mutating func receive(_ bytes: ArraySlice<UInt8>) {
        if state != .closed { reader.append(bytes) }
    }

    /// Ends the session if a reply is late.
    package mutating func expire(now: MonotonicTime) {
        guard let deadline, now > deadline, case .waiting(let type) = state else { return }
        let seconds = Self.replyTimeMax.components.seconds
        close("the peer has not answered within \(seconds) s when asked for \(type.meaning)")
    }

    /// Takes what to do next.
    ///
    /// - Returns: Nil until more arrives or is asked for.
    package mutating func nextAction(now: MonotonicTime) -> Action? {
        while actions.isEmpty, state != .closed {
            do throws(ProtocolFailure) {
                guard let header = try reader.header(),
                    let payload = reader.takePayload(byteCount: Int(header.payloadByteCount))
                else { return nil }
                try handle(header, payload, now)
            } catch {
                failure = error
                close("\(error)")
            }
        }
        return actions.isEmpty ? nil : actions.removeFirst()
    }

    /// Whether no reply is due.
    package var isIdle: Bool { state == .idle && waitingRequests.isEmpty }

    /// Asks for the capture that the driver has prepared for.
    package mutating func start(_ request: StartRequest, now: MonotonicTime) {
        clientOpens = mode == .passive && request.flags.isDisjoint(with: [.udp, .serverOpens])
        ask(.startCapture, request.bytes, now: now)
    }

    /// Asks for the list of devices again, or has the session look for its pod again.
    package mutating func askForDevices(now: MonotonicTime) {
        ask(.findInterfaces, now: now)
    }

    package mutating func askForStatistics(now: MonotonicTime) {
        ask(.statistics, now: now)
    }

    package mutating func updateFilter(_ instructions: [Instruction], now: MonotonicTime) {
        ask(.updateFilter, Filter.encode(instructions), now: now)
    }

    /// Asks for the end of the capture.
    package mutating func end(now: MonotonicTime) {
        ask(.endCapture, now: now)
    }

    /// Ends the session with a CLOSE message; the connection can be closed when that has been sent.
    ///
    /// An agent that dialled is sent none: the daemons that podwire replaces would never dial again.
    package mutating func close() {
        guard state != .closed else { return }
        if mode == .passive { actions.append(.send(Message.request(.close))) }
        close("closed by this side")
    }
}

extension ClientSession {
    /// Sends a request, or queues it while a reply is due.
    ///
    /// Requests go out one at a time, since an error does not say which one it answers.
    private mutating func ask(_ type: MessageType, _ payload: [UInt8] = [], now: MonotonicTime) {
        switch state {
        case .closed: break
        case .waiting:
            waitingRequests.removeAll { $0.type == type }
            waitingRequests.append((type, payload))
        case .idle:
            state = .waiting(type)
            deadline = now + Self.replyTimeMax
            actions.append(.send(Message.request(type, payload)))
        }
    }

    private mutating func close(_ reason: String) {
        guard state != .closed else { return }
        actions.append(.close(reason))
        state = .closed
        deadline = nil
        waitingRequests = []
    }

    private mutating func handle(
        _ header: MessageHeader, _ payload: [UInt8], _ now: MonotonicTime
    ) throws(ProtocolFailure) {
        if header.type == MessageType.error.rawValue {
            try handleError(code: header.value, Message.printableText(payload))
        } else {
            guard case .waiting(let type) = state, header.type == type.reply else {
                throw .unexpected(type: header.type)
            }
            (state, deadline) = (.idle, nil)
            try handle(type, header, payload, now)
        }
        if state == .idle, !waitingRequests.isEmpty {
            let (type, payload) = waitingRequests.removeFirst()
            ask(type, payload, now: now)
        }
    }

    /// Handles an error: notes it if the capture can do without what was refused, else ends.
    ///
    /// Some daemons report, unasked, that reading packets has failed: their capture is over,
    /// whatever was asked.
    private mutating func handleError(
        code: UInt16, _ text: String
    ) throws(ProtocolFailure) {
        let failure = ProtocolFailure.refused(code: code, text: text)
        guard case .waiting(let type) = state, code != ErrorCode.reading.rawValue else {
            throw failure
        }
        switch type {
        case .findInterfaces where device == nil: throw failure
        case .statistics, .updateFilter, .setSampling, .endCapture, .findInterfaces:
            (state, deadline) = (.idle, nil)
            actions.append(.note("\(type.meaning): \(failure)"))
            if type == .setSampling { prepare() }
            if type == .endCapture { recordEnd() }
        default: throw failure
        }
    }

    private mutating func handle(
        _ type: MessageType, _ header: MessageHeader, _ payload: [UInt8], _ now: MonotonicTime
    ) throws(ProtocolFailure) {
        switch type {
        case .login:
            try ReplyCheck.login(payload)
            ask(.findInterfaces, now: now)
        case .findInterfaces:
            try choose(Device.decode(count: Int(header.value), payload.wire), now)
        case .open:
            linkType = try ReplyCheck.open(payload)
            if goal.sampling == .none {
                prepare()
            } else {
                ask(.setSampling, goal.sampling.bytes, now: now)
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
        case .endCapture: recordEnd()
        case .updateFilter: break
        case .error, .close, .packet: throw .unexpected(type: header.type)
        }
    }

    private mutating func choose(
        _ devices: [Device], _ now: MonotonicTime
    ) throws(ProtocolFailure) {
        guard !goal.listsOnly else {
            actions.append(.listed(devices))
            return close("closed by this side")
        }
        guard device == nil else { return actions.append(.listed(devices)) }
        offersPods = devices.contains(where: \.isStream)
        if goal.namesPods, offersPods { actions.append(.listed(devices)) }
        let chosen: Device
        if let pod = goal.pod {
            guard let device = devices.first(where: { OfferedPod($0)?.name == pod }) else {
                return actions.append(.note("it has no pod \(pod) yet: it is asked again"))
            }
            chosen = device
        } else {
            chosen = try ReplyCheck.choose(goal.device, from: devices)
        }
        device = chosen
        let addresses = ([chosen] + devices.filter { $0 != chosen }).flatMap(\.addresses)
            .map(\.address).filter { !$0.isLoopback && !$0.isLinkLocalIPv6 }
        peerAddresses = Array(addresses.prefix(Self.peerAddressCountMax))
        ask(.open, [UInt8](chosen.name.utf8), now: now)
    }

    private mutating func prepare() {
        if let device { actions.append(.prepare(device, linkType: linkType)) }
    }

    private mutating func recordEnd() {
        isCapturing = false
        actions.append(.ended)
    }
}

extension MessageType {
    /// The thing that such a request asks for, as the end of a sentence.
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
