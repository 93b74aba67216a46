import Addressing
package import Linux
package import Time

/// A dialer of one source, which dials again when the source is gone.
///
/// It never waits: the collector's poll loop does, for its descriptor and until its deadline.
package final class SourceDialer {
    let source: Source
    /// The session with the source, while there is one.
    private(set) var link: AgentLink?
    private var step: Step
    /// When to call `advance` even if nothing is ready; nil for never.
    package private(set) var deadline: MonotonicTime? = .zero
    /// Addresses that have not been tried since the last lookup.
    private var addresses: [SocketAddress] = []
    private var backoff = Backoff()
    private var lastFailure: String?

    private enum Step: ~Copyable {
        case waiting
        case resolving(NameLookup)
        case connecting(PendingConnection)
        case linked

        mutating func take() -> Self {
            let step = self
            self = .linked
            return step
        }
    }

    private static let connectTimeMax = Duration.seconds(10)
    /// The length of a session after which the next failure starts a new back-off.
    private static let goodSessionTime = Duration.seconds(10)
    /// The most addresses that are tried; a name with more is not one agent.
    private static let addressCountMax = 16

    package init(_ source: Source) {
        self.source = source
        step = .waiting
    }

    /// The descriptor for a poll set, with `interest`; -1 if there is nothing to wait for but time.
    var fileDescriptor: CInt {
        switch step {
        case .resolving(let lookup): lookup.fileDescriptor
        case .connecting(let connection): connection.fileDescriptor
        default: -1
        }
    }

    var interest: Readiness {
        switch step {
        case .connecting: .writable
        default: .readable
        }
    }

    /// The state in a word for people.
    package var state: String {
        switch step {
        case .waiting: "waiting"
        case .resolving: "resolving"
        case .connecting: "connecting"
        case .linked: "connected"
        }
    }

    /// The outcome of a step.
    package enum Outcome: ~Copyable {
        case none
        case connected(Connection)
        /// The source cannot be reached, for a reason that was not reported before.
        case failed(String)
    }

    /// Does what can be done now.
    ///
    /// Never waits.
    package func advance(isReady: Bool, now: MonotonicTime) -> Outcome {
        switch step.take() {
        case .linked: return .none
        case .waiting:
            guard now >= deadline ?? .zero else {
                step = .waiting
                return .none
            }
            return begin(now)
        case .resolving(let lookup):
            guard let answer = lookup.takeAnswer() else {
                step = .resolving(lookup)
                return .none
            }
            switch answer {
            case .failure(let failure): return fail("\(failure)", now)
            case .success(let found):
                addresses = Array(found.prefix(Self.addressCountMax))
                return dialNext(now)
            }
        case .connecting(let connection):
            guard isReady || now >= deadline ?? .zero else {
                step = .connecting(connection)
                return .none
            }
            guard isReady else {
                return dialNext(now, "connect to \(connection.peer): no answer within 10 s")
            }
            deadline = nil
            do throws(SystemError) {
                let connection = try connection.finish()
                try connection.watchPeer()
                try connection.sendAtOnce()
                return .connected(connection)
            } catch {
                return dialNext(now, "\(error)")
            }
        }
    }

    /// Records the session over the last connection.
    func begin(_ link: AgentLink) {
        self.link = link
        lastFailure = nil
    }

    /// Records the end of the session, and schedules the next try.
    ///
    /// With `pause` that is after this time at least.
    package func end(now: MonotonicTime, pause: Duration = .zero) {
        if let link, now - link.connectedAt >= Self.goodSessionTime { backoff.reset() }
        link = nil
        step = .waiting
        deadline = now + max(backoff.next(), pause)
    }

    private func begin(_ now: MonotonicTime) -> Outcome {
        if let address = IPAddress(source.host) {
            addresses = [SocketAddress(address, port: source.port)]
            return dialNext(now)
        }
        do throws(SystemError) {
            step = .resolving(try NameLookup(of: source.host, port: source.port))
            deadline = nil
            return .none
        } catch {
            return fail("\(error)", now)
        }
    }

    private func dialNext(_ now: MonotonicTime, _ failure: String? = nil) -> Outcome {
        var failure = failure
        while !addresses.isEmpty {
            let address = addresses.removeFirst()
            do throws(SystemError) {
                // A port of its own tells the connection from all others of this host.
                let socket = try BoundSocket(toReach: address)
                step = .connecting(try socket.connect(to: address))
                deadline = now + Self.connectTimeMax
                return .none
            } catch {
                failure = "\(error)"
            }
        }
        return fail(failure ?? "it has no address", now)
    }

    private func fail(_ failure: String, _ now: MonotonicTime) -> Outcome {
        step = .waiting
        deadline = now + backoff.next()
        guard failure != lastFailure else { return .none }
        lastFailure = failure
        return .failed(failure)
    }
}
