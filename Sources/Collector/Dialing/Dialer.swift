import Addressing
import Formats
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

    /// The state in a few words for people.
    package func state(now: MonotonicTime) -> String {
        switch step {
        case .waiting: "retry in \(((deadline ?? now) - now + .milliseconds(999)).text)"
        case .resolving: "resolving"
        case .connecting: "connecting"
        case .connected: "connected"
        }
    }

    /// The outcome of a step.
    package enum Outcome: ~Copyable {
        case none
        case connected(Connection)
        /// The peer cannot be reached.
        case failed(Failure)
    }

    /// Why a peer cannot be reached.
    package struct Failure: Equatable, Sendable, CustomStringConvertible {
        package let description: String
        package let kind: Kind

        /// The kinds with a remedy of their own.
        package enum Kind: Sendable { case noName, refused, noAnswer, other }

        init(_ error: SystemError) {
            let kind: Kind =
                switch error.errno {
                case .connectionRefused: .refused
                case .timedOut, .hostUnreachable, .networkUnreachable: .noAnswer
                default: .other
                }
            self.init("\(error)", kind)
        }

        init(_ description: String, _ kind: Kind) {
            (self.description, self.kind) = (description, kind)
        }
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
            case .failure(let failure): return fail(Failure("\(failure)", .noName), now)
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
                return dialNext(
                    now,
                    Failure("connect to \(connection.peer): no answer within 10 s", .noAnswer))
            }
            deadline = nil
            do throws(SystemError) {
                let connection = try connection.finish()
                try connection.watchPeer()
                try connection.sendAtOnce()
                return .connected(connection)
            } catch {
                return dialNext(now, Failure(error))
            }
        }
    }

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
            return fail(Failure(error), now)
        }
    }

    private func dialNext(_ now: MonotonicTime, _ failure: Failure? = nil) -> Outcome {
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
                failure = Failure(error)
            }
        }
        return fail(failure ?? Failure("it has no address", .noName), now)
    }

    private func fail(_ failure: Failure, _ now: MonotonicTime) -> Outcome {
        step = .waiting
        deadline = now + backoff.next()
        return .failed(failure)
    }
}
