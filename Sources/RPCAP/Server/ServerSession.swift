package import BPF

/// One control connection as the side that captures sees it: bytes in, actions out.
///
/// The session knows the protocol and the time, and nothing else; whoever drives it owns the sockets
/// and the capture. It gives the session what arrives, carries out the actions that come back, says
/// how those that need an answer went, and comes back at the latest at the `deadline`. While an answer
/// is due further requests wait, in order. Whatever a peer sends, the session stays within a fraction
/// of a megabyte and in one of its states. Times are nanoseconds of a clock that never goes back.
package struct ServerSession: Sendable {
    /// Who dialled: the roles are the same from the first byte on, a few details are not.
    package enum Mode: Sendable {
        case active
        case passive
    }

    /// Which logins can succeed.
    package struct Logins: OptionSet, Sendable {
        package let rawValue: Int
        package init(rawValue: Int) { self.rawValue = rawValue }

        package static let null = Self(rawValue: 1)
        package static let password = Self(rawValue: 2)
    }

    package enum Action: Equatable, Sendable {
        case send([UInt8])
        /// Then `passwordChecked`.
        case checkPassword(user: [UInt8], password: [UInt8])
        /// Then `devicesListed`.
        case listDevices
        /// Find out whether a device of this name can be captured from; then `deviceOpened` or
        /// `deviceRefused`.
        case open(String)
        /// Open the data connection, or listen for it, and capture; then `captureStarted` or
        /// `captureRefused`.
        case startCapture(StartRequest)
        /// Put a filter in force; then `filterUpdated` or `filterRefused`.
        case updateFilter([Instruction])
        /// The capture that runs is to be sampled like this from now on.
        case sample(Sampling)
        /// Then `report`.
        case reportStatistics
        /// Stop the capture and close the data connection; then `captureEnded`.
        case endCapture
        /// Something a person may want to read, and what the peer has said about it.
        case note(String, said: String? = nil)
        /// Close the connection; a capture that runs ends with it. No action follows.
        case close(String)
    }

    enum State { case loggedOut, ready, opened, capturing, closed }

    let mode: Mode
    let logins: Logins
    /// Why nobody can log in now, whoever it is; nil if they can.
    package var loginRefusal: String?
    var state = State.loggedOut
    /// The name that the last OPEN has named.
    var device: String?
    var sampling = Sampling.none
    var actions: [Action] = []
    /// The request whose answer is due.
    var awaited: MessageType?
    /// The name in an OPEN whose answer is due.
    var deviceAsked: String?
    var wrongPasswordCount = 0
    var refusalCount = 0
    var noteCount = 0
    /// When the peer is listened to again, after a wrong password.
    var heldUntil: UInt64?
    private var reader = MessageReader(
        payloadByteCountMax: payloadByteCountMax, keptByteCountMax: keptByteCountMax)
    /// When the last message was complete, or the session began.
    private var quietSince: UInt64
    /// When the message began that is not complete.
    private var messageBegan: UInt64?

    /// More than any request is meant to have; a peer that announces more is not understood.
    package static let payloadByteCountMax = 1 << 20
    /// The longest request is a filter of 8,192 instructions.
    static let keptByteCountMax =
        StartRequest.fixedByteCount + Filter.headByteCount + Program.instructionCountMax * 8

    package init(_ mode: Mode, logins: Logins = .null, now: UInt64) {
        (self.mode, self.logins, quietSince) = (mode, logins, now)
    }

    package var isCapturing: Bool { state == .capturing }

    /// Whether the peer has logged in.
    package var isLoggedIn: Bool { state != .loggedOut && state != .closed }

    /// False while so much waits to be dealt with that the driver should not read more.
    package var wantsInput: Bool { reader.byteCount <= Self.keptByteCountMax }

    /// What it takes in memory for what the peer has sent.
    package var inputCapacity: Int { reader.capacity }

    package mutating func receive(_ bytes: ArraySlice<UInt8>, now: UInt64) {
        guard state != .closed, !bytes.isEmpty else { return }
        if reader.byteCount == 0 { messageBegan = now }
        reader.append(bytes)
    }

    /// What to do next, or nil until more arrives, an answer is given, or the deadline is there.
    package mutating func nextAction(now: UInt64) -> Action? {
        while actions.isEmpty, awaited == nil, state != .closed {
            if let time = heldUntil {
                guard now >= time else { return nil }
                heldUntil = nil
                quietSince = now
                if messageBegan != nil { messageBegan = now }
            }
            do throws(ProtocolFailure) {
                guard try !handleMessage(now) else {
                    quietSince = now
                    messageBegan = reader.byteCount > 0 ? now : nil
                    continue
                }
                guard expire(now) else { return nil }
            } catch {
                refuse(error)
            }
        }
        return actions.isEmpty ? nil : actions.removeFirst()
    }

    /// Takes one message off the stream, if it has arrived whole.
    private mutating func handleMessage(_ now: UInt64) throws(ProtocolFailure) -> Bool {
        if reader.first == Self.tlsHandshake, state == .loggedOut, reader.messageCount == 0 {
            return answerTLS()
        }
        guard let header = try reader.header() else { return false }
        let byteCount = Int(header.payloadByteCount)
        if header.type == MessageType.startCapture.rawValue, byteCount == 20 {
            guard let extra = extraByteCount(now),
                let payload = reader.takePayload(byteCount: byteCount + extra)
            else { return false }
            handle(.startCapture, payload, now)
            return true
        }
        guard let payload = reader.takePayload(byteCount: byteCount) else { return false }
        guard let type = MessageType(rawValue: header.type) else {
            unexpected(header.type)
            return true
        }
        handle(type, payload, now)
        return true
    }

    /// libpcap's client, where no filter was ever set, announces 20 bytes and sends 28: the last
    /// eight are the one instruction it counted. Nil until that can be told; eight bytes that do not
    /// come soon do not come.
    private func extraByteCount(_ now: UInt64) -> Int? {
        guard let head = reader.peek(12..<20) else { return nil }
        guard head[4...] == [0, 0, 0, 1] else { return 0 }
        guard let step = reader.peek(20..<28) else {
            return extraDeadline.map { now >= $0 } == true ? 0 : nil
        }
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

    /// The first byte of a TLS record with a handshake message (RFC 8446, 5.1).
    package static let tlsHandshake: UInt8 = 0x16

    /// A peer that begins with TLS gets TLS's own "handshake failure" with the version that it named.
    private mutating func answerTLS() -> Bool {
        guard let start = reader.peekStart(3) else { return false }
        actions.append(.send([0x15, start[1], start[2], 0, 2, 2, 40]))
        close("the peer speaks TLS, which this agent has not been set up for")
        return true
    }
}

/// What a peer has time for.
extension ServerSession {
    /// What a peer has begun to say it has to finish within this time.
    private static let messageNanosecondsMax: UInt64 = 10_000_000_000
    /// How long the bytes that libpcap's client does not announce are waited for.
    private static let extraNanosecondsMax: UInt64 = 1_000_000_000
    /// How long a peer that is not logged in may say nothing, and one that is and captures nothing;
    /// both as in the reference, and in passive mode only.
    private static let loginNanosecondsMax: UInt64 = 90_000_000_000
    private static let idleNanosecondsMax: UInt64 = 180_000_000_000

    /// When `nextAction` has to be asked again, also if nothing has arrived; nil for never.
    package var deadline: UInt64? {
        guard state != .closed, awaited == nil else { return nil }
        if let heldUntil { return heldUntil }
        guard let messageBegan else { return idleDeadline }
        return extraDeadline ?? messageBegan + Self.messageNanosecondsMax
    }

    /// Until when a start request waits for what its header does not announce.
    private var extraDeadline: UInt64? {
        guard let header = try? reader.header(), header.payloadByteCount == 20,
            header.type == MessageType.startCapture.rawValue, reader.peek(12..<20) != nil
        else { return nil }
        return messageBegan.map { $0 + Self.extraNanosecondsMax }
    }

    private var idleDeadline: UInt64? {
        guard mode == .passive else { return nil }
        switch state {
        case .loggedOut: return quietSince + Self.loginNanosecondsMax
        case .ready, .opened: return quietSince + Self.idleNanosecondsMax
        case .capturing, .closed: return nil
        }
    }

    /// Drops a peer whose time is over. Answers whether it was.
    private mutating func expire(_ now: UInt64) -> Bool {
        if let messageBegan {
            guard now >= messageBegan + Self.messageNanosecondsMax else { return false }
            drop(.idleTimeout, "a message was left unfinished for 10 s")
        } else {
            guard let idleDeadline, now >= idleDeadline else { return false }
            let seconds = state == .loggedOut ? 90 : 180
            drop(.idleTimeout, "nothing was asked for \(seconds) s")
        }
        return true
    }
}
