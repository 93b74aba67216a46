import Forwarding
import Linux
import Logging
import Metrics
import Time

/// The older agent.
extension Handover {
    /// The wait behind a connection that is refused, so that many of them cost little.
    private static let refusalPause = Duration.milliseconds(20)

    private enum Awaited { case stopRequest, stop, listener, line, older }

    /// The part of an agent that forwards: who is there beside it, and what they have agreed on.
    private struct Lead: ~Copyable {
        /// Nil while another agent has the name.
        var listener: SequencedListener?
        /// The newer agent.
        var line: Line?
        /// When a connection is closed over which nothing has been said yet.
        var silentUntil = MonotonicTime.distantFuture
        /// Until when time stamps are compared with the moment at which this agent took over.
        var comparesUntil: MonotonicTime?
        var predecessor: Predecessor
        /// The agent that this one has followed last, until its end.
        var older: Line?
        /// Whether the newer agent is gone after it has taken over, so that the name may be free.
        var seeksName = false
    }

    /// Listens for newer agents, and hands over to one, until the agent stops.
    func lead(
        _ listener: consuming SequencedListener, _ search: Search,
        _ heartbeat: borrowing Watchdog.Heartbeat
    ) {
        var lead = Lead(
            listener: consume listener, comparesUntil: search.comparesUntil,
            predecessor: Predecessor(revisionHash: role.revisionHash), older: search.lines.last)
        while !stop.isGiven {
            heartbeat.beat()
            turn(&lead)
        }
    }

    private func turn(_ lead: inout Lead) {
        let isStopping = lead.predecessor.isToStop
        var deadline = min(
            lead.predecessor.dueAt ?? .distantFuture, lead.comparesUntil ?? .distantFuture,
            lead.silentUntil, .now + Watchdog.waitMax)
        if lead.seeksName { deadline = min(deadline, .now + Self.retryInterval) }
        let ready = try? poll(
            [
                Awaited.stopRequest: (isStopping ? -1 : stopRequest.fileDescriptor, .readable),
                .stop: (stop.fileDescriptor, .readable),
                .listener: (lead.listener?.fileDescriptor ?? -1, .readable),
                .line: (lead.line?.socket.fileDescriptor ?? -1, .readable),
                .older: (lead.older?.socket.fileDescriptor ?? -1, .readable),
            ], until: deadline)
        guard let ready else { return stop.give() }
        if let time = lead.comparesUntil, .now >= time {
            lead.comparesUntil = nil
            span.begin(at: 0)
        }
        var actions: [HandoverAction] = []
        if !ready[.stopRequest].isEmpty { actions += lead.predecessor.requestStop(at: .now) }
        if !ready[.line].isEmpty { actions += hear(&lead) }
        if !ready[.older].isEmpty { hearOlder(&lead) }
        if .now >= lead.silentUntil { actions.append(.disconnect) }
        actions += lead.predecessor.attend(at: .now)
        if actions.contains(.disconnect) { actions += loseNewer(&lead) }
        if lead.seeksName { actions += seekName(&lead) }
        for action in actions {
            carryOut([action], on: lead.line)
            // The newer agent listens at the name as soon as it hears that this one has ceded.
            if action == .cede { lead.listener = nil }
        }
        if actions.contains(where: \.isBeginning) {
            lead.comparesUntil = .now + HandoverTimes.comparison
        }
        role.accompany(lead.predecessor.isAccompanied)
        log(actions)
        if !ready[.listener].isEmpty { accept(&lead) }
    }

    private func accept(_ lead: inout Lead) {
        guard let new = lead.listener?.acceptOwn(pause: Self.refusalPause), lead.line == nil else {
            // A second one is let go of, and tries again.
            return
        }
        lead.line = Line(new)
        lead.silentUntil = .now + HandoverTimes.greeting
    }

    /// Takes what the newer agent says.
    private func hear(_ lead: inout Lead) -> [HandoverAction] {
        guard let newer = lead.line else { return [] }
        switch receive(from: newer) {
        case .nothing: return []
        case .message(let message):
            lead.silentUntil = .distantFuture
            return lead.predecessor.receive(
                message, at: .current, servedCount: role.servedCount())
        case .end: return [.disconnect]
        }
    }

    /// Takes what the agent says from which this one has taken over.
    ///
    /// Its pod stays until this one's has been ready for some time, if its probe is answered until then.
    private func hearOlder(_ lead: inout Lead) {
        guard let older = lead.older else { return }
        switch receive(from: older) {
        case .message(let message) where message.kind == .ceded: role.standIn(message.value)
        case .nothing, .message: break
        case .end:
            lead.older = nil
            role.standIn(0)
        }
    }

    /// Lets go of the newer agent.
    private func loseNewer(_ lead: inout Lead) -> [HandoverAction] {
        (lead.line, lead.silentUntil) = (nil, .distantFuture)
        guard lead.predecessor.phase != .ceded else {
            lead.seeksName = true
            return []
        }
        return goOn(&lead)
    }

    /// Goes on without the newer agent, which is gone.
    private func goOn(_ lead: inout Lead) -> [HandoverAction] {
        // One that has said nothing may be anybody.
        if lead.predecessor.phase != .alone { role.goOn() }
        return lead.predecessor.disconnect(at: .current)
    }

    /// Takes the name, unless a still newer agent has it, which forwards then.
    private func seekName(_ lead: inout Lead) -> [HandoverAction] {
        guard let listener = try? SequencedListener(atName: name) else { return [] }
        lead.listener = consume listener
        lead.seeksName = false
        return goOn(&lead)
    }

    private func log(_ actions: [HandoverAction]) {
        for action in actions {
            switch action {
            case .endForwarding(at: .max):
                logger.warning("the other agent is gone, or has given up: this one forwards")
            case .endForwarding: logger.info("another agent takes over")
            case .cede:
                logger.info("another agent has taken over; this one waits until it is stopped")
            case .send, .beginForwarding, .resume, .stop, .disconnect: break
            }
        }
    }
}

extension HandoverAction {
    fileprivate var isBeginning: Bool {
        if case .beginForwarding = self { true } else { false }
    }
}

extension SequencedListener {
    /// Accepts a connection of this agent's user; nil for others, and if there is none.
    fileprivate func acceptOwn(pause: Duration) -> SequencedSocket? {
        do throws(SystemError) {
            guard let socket = try accept() else { return nil }
            if try socket.peerUser() == effectiveUser() { return socket }
        } catch {
            // There is no descriptor left, and the connection still waits.
        }
        sleep(until: .now + pause)
        return nil
    }
}
