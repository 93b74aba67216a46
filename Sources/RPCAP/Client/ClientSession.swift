package import BPF

import Frames

/// One control connection as the side that asks sees it: bytes in, actions out.
///
/// It logs in, lists the devices, opens the one that is marked as preselected, starts a capture to a
/// data port that its driver listens on, and then asks for statistics whenever the driver wants. It
/// checks what libpcap's client checks, and takes every text from the peer for a text.
package struct ClientSession: Sendable {
    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// The devices are known, and this one has been chosen. Listen, and call `start`.
        case prepare(Device)
        /// The capture runs; the data connection is there or about to be.
        case started
        case statistics(CaptureStatistics)
        case ended
        /// Close the connection. No action follows.
        case close(String)
    }

    private enum State: Equatable {
        case idle
        case waiting(MessageType)
        case closed
    }

    private var state = State.waiting(.login)
    private var reader = MessageReader(payloadByteCountMax: payloadByteCountMax)
    private var actions: [Action] = []
    private var device: Device?
    private var waitingRequests: [(MessageType, [UInt8])] = []
    package private(set) var isCapturing = false

    /// libpcap's server answers with at most 64,000 bytes; other lists are seen, but none of this
    /// size.
    package static let payloadByteCountMax = 4 << 20

    package init() {
        let nullLogin = [UInt8](repeating: 0, count: 8)
        actions = [.send(Message.request(.login, nullLogin))]
    }

    package mutating func receive(_ bytes: ArraySlice<UInt8>) {
        if state != .closed { reader.append(bytes) }
    }

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
    package mutating func start(_ request: StartRequest) {
        ask(.startCapture, request.bytes)
    }

    package mutating func askForStatistics() {
        ask(.statistics)
    }

    package mutating func updateFilter(_ instructions: [Instruction]) {
        ask(.updateFilter, Filter.encode(instructions))
    }

    package mutating func end() {
        ask(.endCapture)
    }

    /// Says goodbye; the connection can be closed when this has been sent.
    package mutating func close() {
        actions.append(.send(Message.request(.close)))
        close("closed by this side")
    }
}

extension ClientSession {
    /// Requests go out one at a time: an error does not say which one it answers.
    private mutating func ask(_ type: MessageType, _ payload: [UInt8] = []) {
        switch state {
        case .closed: break
        case .waiting: waitingRequests.append((type, payload))
        case .idle:
            state = .waiting(type)
            actions.append(.send(Message.request(type, payload)))
        }
    }

    private mutating func close(_ reason: String) {
        guard state != .closed else { return }
        actions.append(.close(reason))
        state = .closed
    }

    private mutating func handle(
        _ header: MessageHeader, _ payload: [UInt8]
    ) throws(ProtocolFailure) {
        guard case .waiting(let type) = state else { throw .unexpected(type: header.type) }
        if header.type == MessageType.error.rawValue {
            let text = String(
                decoding: payload.prefix(Message.errorTextByteCountMax), as: UTF8.self)
            throw .refused(code: header.value, text: text)
        }
        guard header.type == type.reply else { throw .unexpected(type: header.type) }
        state = .idle
        try handle(type, header, payload)
        if state == .idle, !waitingRequests.isEmpty {
            let (type, payload) = waitingRequests.removeFirst()
            ask(type, payload)
        }
    }

    private mutating func handle(
        _ type: MessageType, _ header: MessageHeader, _ payload: [UInt8]
    ) throws(ProtocolFailure) {
        switch type {
        case .login:
            try checkVersions(payload)
            ask(.findInterfaces)
        case .findInterfaces:
            let devices = try Device.decode(count: Int(header.value), payload.wire)
            let chosen = devices.first { $0.isPreselected } ?? devices.first
            guard let chosen else { throw .malformed("the peer has no devices") }
            device = chosen
            ask(.open, [UInt8](chosen.name.utf8))
        case .open:
            guard payload.count >= 8 else { throw .tooShort("open reply") }
            let linkType = payload.wire.uint32(at: 0)
            guard linkType == 1 else { throw .malformed("link type \(linkType) is not Ethernet") }
            if let device { actions.append(.prepare(device)) }
        case .startCapture:
            guard payload.count >= 8 else { throw .tooShort("start reply") }
            isCapturing = true
            actions.append(.started)
        case .statistics:
            guard payload.count >= CaptureStatistics.byteCount else {
                throw .tooShort("statistics reply")
            }
            actions.append(.statistics(CaptureStatistics(payload.wire)))
        case .endCapture:
            isCapturing = false
            actions.append(.ended)
        case .updateFilter, .setSampling: break
        case .error, .close, .packet: throw .unexpected(type: header.type)
        }
    }

    /// The reply is empty, two versions, or those and the byte order.
    private func checkVersions(_ payload: [UInt8]) throws(ProtocolFailure) {
        guard !payload.isEmpty else { return }
        guard payload.count == 2 || payload.count >= 8 else { throw .tooShort("login reply") }
        guard payload[0] == 0 else { throw .wrongVersion(payload[0]) }
    }
}
