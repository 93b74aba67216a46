import Addressing
import Linux
import Time

/// Dials one source for as long as the collector runs, and again when it has gone. It never waits:
/// the collector's poll loop does, for its descriptor and until its deadline.
final class SourceDialer {
    let source: Source
    private(set) var link: AgentLink?
    private var step: Step
    /// When `advance` has something to do though nothing is ready.
    private(set) var deadline: UInt64? = 0
    /// Addresses that have not been tried this time.
    private var addresses: [SocketAddress] = []
    private var backoff = Backoff()
    private var lastFailure: String?

    private enum Step: ~Copyable {
        case waiting
        case resolving(Resolution)
        case connecting(PendingConnection)
        case linked

        mutating func take() -> Self {
            let step = self
            self = .linked
            return step
        }
    }

    private static let connectNanosecondsMax: UInt64 = 10_000_000_000
    /// A session of this length was a good one: the next failure starts a new back-off.
    private static let goodSessionNanoseconds: UInt64 = 10_000_000_000
    /// A name with more addresses than that is not one agent.
    private static let addressCountMax = 16

    init(_ source: Source) {
        self.source = source
        step = .waiting
    }

    /// For a poll set, with `interest`; -1 where there is nothing to wait for but time.
    var number: CInt {
        switch step {
        case .resolving(let resolution): resolution.number
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

    /// For people.
    var state: String {
        switch step {
        case .waiting: "waiting"
        case .resolving: "resolving"
        case .connecting: "connecting"
        case .linked: "connected"
        }
    }

    /// What has happened, for the collector to go on with.
    enum Outcome: ~Copyable {
        case none
        case connected(Connection)
        /// The source cannot be reached, which was not known before.
        case failed(String)
    }

    /// Does what can be done now, without waiting.
    func advance(isReady: Bool, now: UInt64) -> Outcome {
        switch step.take() {
        case .linked: return .none
        case .waiting:
            guard now >= deadline ?? 0 else {
                step = .waiting
                return .none
            }
            return begin(now)
        case .resolving(let resolution):
            guard let answer = resolution.answer else {
                step = .resolving(resolution)
                return .none
            }
            switch answer {
            case .failure(let failure): return fail("\(failure)", now)
            case .success(let found):
                addresses = Array(found.prefix(Self.addressCountMax))
                return dialNext(now)
            }
        case .connecting(let connection):
            guard isReady || now >= deadline ?? 0 else {
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

    /// The session over the last connection has begun.
    func begin(_ link: AgentLink) {
        self.link = link
        lastFailure = nil
    }

    /// The session has ended.
    func end(now: UInt64) {
        if let link, now - link.connectedAt >= Self.goodSessionNanoseconds { backoff.reset() }
        link = nil
        step = .waiting
        deadline = now + UInt64(backoff.next().clampedNanoseconds)
    }

    private func begin(_ now: UInt64) -> Outcome {
        if let address = IPAddress(source.host) {
            addresses = [SocketAddress(address, port: source.port)]
            return dialNext(now)
        }
        do throws(SystemError) {
            step = .resolving(try Resolution.begin(source.host, port: source.port))
            deadline = nil
            return .none
        } catch {
            return fail("\(error)", now)
        }
    }

    private func dialNext(_ now: UInt64, _ failure: String? = nil) -> Outcome {
        var failure = failure
        while !addresses.isEmpty {
            let address = addresses.removeFirst()
            do throws(SystemError) {
                step = .connecting(try PendingConnection(to: address))
                deadline = now + Self.connectNanosecondsMax
                return .none
            } catch {
                failure = "\(error)"
            }
        }
        return fail(failure ?? "it has no address", now)
    }

    private func fail(_ failure: String, _ now: UInt64) -> Outcome {
        step = .waiting
        deadline = now + UInt64(backoff.next().clampedNanoseconds)
        guard failure != lastFailure else { return .none }
        lastFailure = failure
        return .failed(failure)
    }
}
