package import Linux
import Log
package import Logging
import Taps
import Time

/// The loop of the opener: takes requests of agents on this node, one at a time.
///
/// It reads nothing but requests of a fixed length, from processes that run as the same user, and
/// reaches nothing but the kernel.
package final class OpenerServer {
    private let listener: SequencedListener
    private let opener: PodSocketOpener
    private let user: UInt32
    private let logger: Logger
    private var agents: [Agent] = []
    private var pace = Pace()
    private var throttle = FailureLogThrottle()
    /// For lines about agents that leave, which an agent can do a thousand times a second.
    private var departures = FailureLogThrottle()

    /// The most agents at a time.
    ///
    /// There is one, and during an update a second may come. One more takes the place of the oldest, so that an agent that hangs does not keep others out.
    package static let agentCountMax = 4
    /// The most requests that are taken of an agent before it is another's turn.
    private static let turnCountMax = 16

    /// Listens at a path.
    ///
    /// - Parameters:
    ///   - path: The path of the socket. One that is left from before is replaced.
    ///   - opener: What opens the sockets.
    ///   - user: The id of the user whose processes may ask.
    ///   - logger: Where it is logged.
    /// - Throws: The kernel's reason if it cannot listen there.
    package init(
        at path: String, _ opener: PodSocketOpener, user: UInt32, logger: Logger
    ) throws(SystemError) {
        listener = try SequencedListener(at: path)
        (self.opener, self.user, self.logger) = (opener, user, logger)
    }

    /// A connection of an agent.
    private final class Agent {
        let connection: SequencedSocket
        var openedCount = 0
        var failedCount = 0

        init(_ connection: consuming SequencedSocket) { self.connection = connection }
    }

    /// Serves until the signal is given.
    ///
    /// - Throws: The kernel's reason if nothing can be waited for.
    package func run(until stop: StopSignal) throws(SystemError) {
        while true {
            let ready = try poll(
                [(stop.fileDescriptor, .readable), (listener.fileDescriptor, .readable)]
                    + agents.map { ($0.connection.fileDescriptor, .readable) }, until: nil)
            if !ready[0].isEmpty { return }
            for (agent, state) in zip(agents, ready.dropFirst(2)) where !state.isEmpty {
                serve(agent)
            }
            if !ready[1].isEmpty { accept() }
        }
    }

    private func accept() {
        do throws(SystemError) {
            guard let connection = try listener.accept() else { return }
            let user = try connection.peerUser()
            guard user == self.user else {
                if let metadata = throttle.recordFailure("it is of user \(user)", now: .now) {
                    logger.warning("agent refused", metadata: metadata)
                }
                return
            }
            if agents.count == Self.agentCountMax {
                drop(agents[0], "it is the oldest of too many")
            }
            agents.append(Agent(connection))
        } catch {
            if let metadata = throttle.recordFailure("\(error)", now: .now) {
                logger.warning("agent not accepted", metadata: metadata)
            }
        }
    }

    private func serve(_ agent: Agent) {
        for _ in 0..<Self.turnCountMax {
            do throws(SystemError) {
                guard var message = try agent.connection.receive() else { return }
                guard !message.bytes.isEmpty else {
                    return drop(agent, "it has closed the connection")
                }
                guard !message.isCut, message.descriptorCount == 1,
                    let request = PodSocketRequest(message.bytes),
                    let namespace = message.descriptor.take()
                else { return drop(agent, "it has sent what is no request") }
                pace.wait()
                try answer(agent, request, namespace)
            } catch {
                return drop(agent, error.description)
            }
        }
    }

    private func answer(
        _ agent: Agent, _ request: PodSocketRequest, _ namespace: borrowing Descriptor
    ) throws(SystemError) {
        let socket: Descriptor
        do throws(PodSocketOpener.Failure) {
            socket = try opener.open(request, namespace)
        } catch {
            // A probe asks for the opener's own namespace, which is refused in this way.
            if error.step != .namespace {
                agent.failedCount += 1
                report(error)
            }
            let answer = PodSocketAnswer(
                to: request, failedStep: error.step, errno: error.errno.rawValue)
            return try agent.connection.send(answer.bytes)
        }
        agent.openedCount += 1
        let answer = PodSocketAnswer(to: request, failedStep: nil, errno: 0)
        try agent.connection.send(answer.bytes, passing: [socket.fileDescriptor])
    }

    /// Logs a failure, unless a pod went away meanwhile: that is all in a day's work.
    private func report(_ failure: PodSocketOpener.Failure) {
        guard ![.staleFileHandle, .noSuchDevice].contains(failure.errno) else { return }
        let reason = "failed to \(failure.step.words): \(failure.errno)"
        if let metadata = throttle.recordFailure(reason, now: .now) {
            logger.warning("socket not opened", metadata: metadata)
        }
    }

    private func drop(_ agent: Agent, _ reason: String) {
        agents.removeAll { $0 === agent }
        // A probe connects every few seconds and opens nothing.
        guard agent.openedCount + agent.failedCount > 0,
            var metadata = departures.recordFailure(reason, now: .now)
        else { return }
        metadata["opened"] = .number(agent.openedCount)
        metadata["failed"] = .number(agent.failedCount)
        logger.info("agent disconnected", metadata: metadata)
    }
}

/// The pace of requests: whatever an agent asks, entering namespaces takes a bounded part of a CPU.
private struct Pace {
    /// When the next request is due if all come evenly.
    private var due = MonotonicTime.zero

    /// The interval between requests in the long run: 1,000 a second, of 50 us each.
    private static let interval = Duration.milliseconds(1)
    /// The requests that pass at once: two captures of 500 edges.
    private static let burst = interval * 1000

    /// Waits until the next request may be taken, for an interval at most.
    mutating func wait() {
        let now = MonotonicTime.now
        due = max(due, now) + Self.interval
        sleep(until: due - Self.burst)
    }
}
