import Forwarding
import Linux
import Log
import Logging
import Metrics
import PacketRing
import Synchronization
import Time

/// The thread by which agents of one name on a node hand over to each other, without a gap.
///
/// The one that forwards listens at a name in the node's network namespace, which nobody else can have
/// meanwhile and which goes with its process. A newer one connects. `Successor` and `Predecessor` are what
/// they say to each other, and when.
final class Handover: Sendable {
    let name: String
    let span: ForwardingSpan
    let role: Role
    private let watchdog: Watchdog
    let stop: StopSignal
    let logger: Logger
    /// Raised when the agent is asked to stop.
    let stopRequest: Event
    private let isStopRequested = Flag(false)
    private let throttle = Mutex(FailureLogThrottle())

    /// What the rest of the agent does for a handover.
    struct Role: Sendable {
        /// The sensors that get packets.
        let servedCount: @Sendable () -> Int
        /// The sensors that can get packets at a time.
        let servedCountMax: Int
        /// Takes the ports that only one agent of a node can have.
        let settle: @Sendable () -> Void
        /// Records whether a newer agent is there that does not forward yet.
        let accompany: @Sendable (Bool) -> Void
        /// Counts that this agent has taken over.
        let takeOver: @Sendable () -> Void
        /// Counts that a newer agent is gone, and this one goes on.
        let goOn: @Sendable () -> Void
        /// Ends the sessions, and lets go of these ports.
        let cede: @Sendable () -> Void
        /// Takes up again what was ceded.
        let resume: @Sendable () -> Void
        /// The hash of the agent's revision, 0 for none.
        let revisionHash: UInt64
        /// Has the agent answer the probes of the older agent, too, whose revision has this hash; 0 for no older one.
        let standIn: @Sendable (UInt64) -> Void
    }

    /// How often a newer agent looks whether its sensors capture.
    private static let lookInterval = Duration.milliseconds(50)
    /// The wait before an agent tries again to connect, or to listen.
    static let retryInterval = Duration.milliseconds(500)
    /// The wait before an agent tries again to listen at a name that is about to be free.
    private static let nameInterval = Duration.milliseconds(10)

    init(
        _ name: String, _ span: ForwardingSpan, _ role: Role, _ watchdog: Watchdog,
        stop: StopSignal, logger: Logger
    ) throws(SystemError) {
        self.name = "podwire/\(name)"
        (self.span, self.role, self.watchdog, self.stop) = (span, role, watchdog, stop)
        self.logger = logger
        stopRequest = try Event()
    }

    /// The process that has the name.
    private enum Holder {
        case nobody
        /// An agent of this one's user.
        case own(Line)
        /// A process of another user, which has no say.
        case other
        /// Somebody who cannot be asked.
        case unreachable
    }

    /// Looks whether another agent forwards, so that this one does not before they have agreed, and
    /// starts the thread.
    func start() throws(SystemError) {
        let holder = findHolder()
        switch holder {
        case .own, .unreachable: span.begin(at: .max)
        case .nobody, .other: break
        }
        let first = TransferBox(holder)
        try Thread { [self] in
            nameThread("podwire-handover")
            let heartbeat = watchdog.begin("the handover")
            run(first.take(), heartbeat)
        }.detach()
    }

    /// Has the agent stop, after a handover that is under way.
    func requestStop() {
        isStopRequested.set(true)
        stopRequest.raise()
    }

    private func run(_ first: Holder?, _ heartbeat: borrowing Watchdog.Heartbeat) {
        var search = Search()
        var first = first
        while !stop.isGiven {
            heartbeat.beat()
            if let end = search.comparesUntil, .now >= end {
                search.comparesUntil = nil
                span.begin(at: 0)
            }
            if search.isNew {
                let holder = first ?? findHolder()
                first = nil
                guard join(holder, &search, heartbeat) else {
                    _ = wait(for: Self.retryInterval)
                    continue
                }
            }
            guard !stop.isGiven else { break }
            if let listener = try? SequencedListener(atName: name) {
                beginAlone(&search)
                lead(listener, search, heartbeat)
            } else if search.isNew, !search.isNameDenied {
                // One that has begun at the same time, and can be asked soon.
                _ = wait(for: Self.nameInterval)
            } else {
                beginAlone(&search)
                giveWay(&search, heartbeat)
            }
        }
        // By its end the older agent knows that this one is gone.
        withExtendedLifetime(search.lines) {}
    }

    /// Joins the process that has the name, as a new agent does.
    ///
    /// - Returns: Whether the name may be free, or this agent forwards.
    private func join(
        _ holder: Holder, _ search: inout Search, _ heartbeat: borrowing Watchdog.Heartbeat
    ) -> Bool {
        switch holder {
        case .nobody: return true
        case .other: beginAlone(&search)
        case .unreachable:
            let end = search.heedsUntil ?? .now + HandoverTimes.greeting
            search.heedsUntil = end
            guard .now >= end else {
                span.begin(at: .max)
                return false
            }
            beginAlone(&search)
        case .own(let line):
            search.heedAgent()
            span.begin(at: .max)
            return record(follow(line, isForwarding: false, heartbeat), line, &search)
        }
        return true
    }

    /// Has this agent forward, and take its ports, since there is no other one to agree with.
    private func beginAlone(_ search: inout Search) {
        search.isNew = false
        if span.bounds.begin == .max {
            // An agent was there that had no time for this one, and is gone.
            span.begin(at: wallClockNanoseconds())
            search.comparesUntil = .now + HandoverTimes.comparison
        }
        role.settle()
    }

    /// Lets this agent, which forwards, agree with one of its user that has the name: only one is to forward.
    private func giveWay(_ search: inout Search, _ heartbeat: borrowing Watchdog.Heartbeat) {
        var isHeard = false
        if search.mayYield {
            switch findHolder() {
            case .nobody:
                if .now >= search.expectsNameUntil {
                    report("a process has the name that does not listen")
                }
            case .other, .unreachable: break
            case .own(let line):
                isHeard = record(follow(line, isForwarding: true, heartbeat), line, &search)
                if isHeard { search.yieldCount += 1 }
            }
        } else {
            report("another process has the name, and does not hand over: end it")
        }
        let isExpected = isHeard || .now < search.expectsNameUntil
        _ = wait(for: isExpected ? Self.nameInterval : Self.retryInterval)
    }

    /// - Returns: Whether this agent forwards now.
    private func record(
        _ outcome: Successor.Outcome, _ line: Line, _ search: inout Search
    ) -> Bool {
        switch outcome {
        case .notHeard:
            if .now >= search.expectsNameUntil { report("it has not answered") }
            return false
        case .alone(let end): search.comparesUntil = end
        case .refused(let end):
            search.comparesUntil = end
            search.endYielding()
        case .tookOver(let end):
            role.takeOver()
            search.comparesUntil = end
            search.expectsNameUntil = .now + Search.nameWait
        }
        search.isNew = false
        search.keep(line)
        return true
    }

    /// - Returns: Whether the agent stops.
    private func wait(for time: Duration) -> Bool {
        let ready = try? poll(
            [(stopRequest.fileDescriptor, .readable), (stop.fileDescriptor, .readable)],
            until: .now + time)
        if isStopRequested.isSet { stop.give() }
        return ready == nil || stop.isGiven
    }

    private func report(_ reason: String) {
        let metadata = throttle.withLock { $0.recordFailure(reason, now: .now) }
        if let metadata { logger.warning("no handover with another agent", metadata: metadata) }
    }
}

/// The newer agent.
extension Handover {
    /// Finds the process that has the name, and connects to it.
    private func findHolder() -> Holder {
        do throws(SystemError) {
            let socket = try SequencedSocket(toName: name)
            let user = try socket.peerUser()
            guard user == effectiveUser() else {
                report("a process of user \(user) has the name: end it, or give another name")
                return .other
            }
            return .own(Line(socket))
        } catch {
            guard error.errno != .connectionRefused else { return .nobody }
            // Too many want to speak to it, of whatever user it is.
            report("\(error)")
            return .unreachable
        }
    }

    /// Takes over from an agent.
    private func follow(
        _ line: Line, isForwarding: Bool, _ heartbeat: borrowing Watchdog.Heartbeat
    ) -> Successor.Outcome {
        // Both agents ask for it; one is enough.
        let stamps = TransferBox(try? PacketStamps())
        defer { _ = stamps.take() }
        var successor = Successor(now: .now, isForwarding: isForwarding)
        carryOut(successor.firstActions, on: line)
        while true {
            heartbeat.beat()
            if wait(for: line) { return .notHeard }
            let before = successor.phase
            var actions: [HandoverAction] = []
            switch receive(from: line) {
            case .nothing: break
            case .message(let message): actions += successor.receive(message, at: .current)
            case .end: actions += successor.disconnect(at: .current)
            }
            if actions.contains(.disconnect) { actions += successor.disconnect(at: .current) }
            actions += successor.attend(
                at: .current, servedCount: role.servedCount(), servedCountMax: role.servedCountMax)
            carryOut(actions, on: line)
            log(successor.phase, before)
            if case .over(let outcome) = successor.phase {
                if case .tookOver = outcome { role.standIn(successor.olderRevisionHash) }
                return outcome
            }
        }
    }

    /// - Returns: Whether the agent stops.
    private func wait(for line: Line) -> Bool {
        let ready = try? poll(
            [
                (stopRequest.fileDescriptor, .readable), (line.socket.fileDescriptor, .readable),
            ], until: .now + Self.lookInterval)
        if isStopRequested.isSet || ready == nil { stop.give() }
        return stop.isGiven
    }

    private func log(_ phase: Successor.Phase, _ before: Successor.Phase) {
        guard phase != before else { return }
        switch phase {
        case .greeting: break
        case .waiting: logger.info("another agent forwards until this one's sensors capture")
        case .proposed:
            logger.info(
                "this agent forwards soon",
                metadata: ["milliseconds": .number(HandoverTimes.lead.waitMilliseconds)])
        case .overlapping: logger.info("the other agent agrees")
        case .ceding, .over(.notHeard): break
        case .over(.alone):
            logger.warning("the other agent is gone, or does not answer: this one forwards")
        case .over(.refused):
            logger.warning("the other agent refuses to hand over: this one forwards beside it")
        case .over(.tookOver): logger.info("this agent has taken over")
        }
    }
}

/// What both do.
extension Handover {
    enum Reception {
        case nothing
        case message(HandoverMessage)
        case end
    }

    func receive(from line: Line) -> Reception {
        do throws(SystemError) {
            guard let message = try line.socket.receive() else { return .nothing }
            return HandoverMessage(message.bytes).map { .message($0) } ?? .end
        } catch {
            return .end
        }
    }

    func carryOut(_ actions: [HandoverAction], on line: Line?) {
        for action in actions {
            switch action {
            // If that fails, the next message is the connection's end.
            case .send(let message): try? line?.socket.send(message.bytes)
            case .beginForwarding(let moment): span.begin(at: moment)
            case .endForwarding(let moment): span.end(at: moment)
            case .cede: role.cede()
            case .resume: role.resume()
            case .stop: stop.give()
            case .disconnect: break
            }
        }
    }
}

extension HandoverMoment {
    static var current: Self { Self(.now, wall: wallClockNanoseconds()) }
}
