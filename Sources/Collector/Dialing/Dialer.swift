import Addressing
package import Linux
package import Time

/// A dialer of one host and port, which dials again when the connection is gone.
///
/// It never waits: a poll loop does, for its descriptor and until its deadline.
package final class Dialer {
    private let host: String
    private let port: UInt16
    private var step = Step.waiting
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
        case connected

        mutating func take() -> Self {
            let step = self
            self = .connected
            return step
        }
    }

    private static let connectTimeMax = Duration.seconds(10)
    /// The length of a connection after which the next failure starts a new back-off.
    private static let goodTime = Duration.seconds(10)
    /// The most addresses that are tried; a name with more is not one peer.
    private static let addressCountMax = 16

    package init(host: String, port: UInt16) { (self.host, self.port) = (host, port) }

    /// The descriptor for a poll set, with `interest`; -1 if there is nothing to wait for but time.
    package var fileDescriptor: CInt {
        switch step {
        case .resolving(let lookup): lookup.fileDescriptor
        case .connecting(let connection): connection.fileDescriptor
        default: -1
        }
    }

    package var interest: Readiness {
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
        case .connected: "connected"
        }
    }

    /// The outcome of a step.
    package enum Outcome: ~Copyable {
        case none
        case connected(Connection)
        /// The peer cannot be reached, for a reason that was not reported before.
        case failed(String)
    }

    /// Does what can be done now.
    ///
    /// Never waits.
    package func advance(isReady: Bool, now: MonotonicTime) -> Outcome {
        switch step.take() {
        case .connected: return .none
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

    /// Records that the connection is of use: what fails next is news.
    package func begin() { lastFailure = nil }

    /// Records the end of the connection, and schedules the next try.
    ///
    /// - Parameters:
    ///   - connectedAt: When it was made; nil if nothing came of it.
    ///   - now: The time.
    ///   - pause: The least time until the next try.
    package func end(
        connectedAt: MonotonicTime?, now: MonotonicTime, pause: Duration = .zero
    ) {
        if let connectedAt, now - connectedAt >= Self.goodTime { backoff.reset() }
        step = .waiting
        deadline = now + max(backoff.next(), pause)
    }

    private func begin(_ now: MonotonicTime) -> Outcome {
        if let address = IPAddress(host) {
            addresses = [SocketAddress(address, port: port)]
            return dialNext(now)
        }
        do throws(SystemError) {
            step = .resolving(try NameLookup(of: host, port: port))
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
