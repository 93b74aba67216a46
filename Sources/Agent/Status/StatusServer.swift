import Edges
import HTTPEndpoint
import Linux
import Log
import Logging
import Settings
import Synchronization
import Time

/// The HTTP endpoint for metrics and probes, on a thread of its own.
///
/// An address in use stops nothing: the agent is there for packets, and a node shares its ports with
/// all programs in its network. The server logs the remedy and tries again for as long as the agent
/// runs, since the port may belong to the agent that this one replaces. An agent that hands over tries
/// again soon when its turn has come: the other one lets go of the port then, or is about to end.
struct StatusServer {
    private let addresses: [SocketAddress]
    private let pages: StatusPages
    private let gate: HTTPGate
    private let handsOver: Bool
    private let logger: Logger

    static let retrySeconds: Int64 = 5
    /// How long the other agent of a handover may still have the port.
    ///
    /// One that stops has its sockets until its end, which takes two seconds, and more on a busy node.
    private static let takeoverSeconds: Int64 = 10

    init(
        _ addresses: [SocketAddress], _ pages: StatusPages, gate: HTTPGate = HTTPGate(),
        handsOver: Bool, logger: Logger
    ) {
        (self.addresses, self.pages, self.gate, self.logger) = (addresses, pages, gate, logger)
        self.handsOver = handsOver
    }

    /// Starts the thread, and returns at once.
    func start() throws(SystemError) {
        let places = addresses.map { address in
            let place = StatusPlace(address, handsOver: handsOver, logger: logger)
            return HTTPServer.Place(
                open: { () throws(SystemError) in try place.open() },
                failed: { place.recordFailure($0) })
        }
        let server = HTTPServer(
            places, gate: gate, retrySeconds: Self.retrySeconds,
            takeoverSeconds: handsOver ? Self.takeoverSeconds : 0
        ) { [pages] in
            pages.response($0, now: .now)
        }
        try Thread {
            nameThread("podwire-http")
            server.run()
        }.detach()
    }
}

/// One address of the endpoint, with what is said about it.
private final class StatusPlace: Sendable {
    private let address: SocketAddress
    private let handsOver: Bool
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var failure = FailureLogThrottle()
        var openedAt = MonotonicTime.zero
    }

    /// After serving for this long a failure is a new one.
    private static let goodServing = Duration.seconds(60)

    init(_ address: SocketAddress, handsOver: Bool, logger: Logger) {
        (self.address, self.handsOver, self.logger) = (address, handsOver, logger)
    }

    /// Begins to listen.
    func open() throws(SystemError) -> Listener {
        let listener = try Listener(at: address)
        state.withLock { $0.openedAt = .now }
        logger.info(
            "serving metrics and probes",
            metadata: [
                "address": "\(listener.local)",
                "connections_max": .number(HTTPServer.connectionCountMax),
            ])
        return listener
    }

    /// Logs why the address is not served.
    func recordFailure(_ failure: HTTPServer.Failure) {
        let metadata = state.withLock { state in
            let now = MonotonicTime.now
            if state.openedAt != .zero, now - state.openedAt >= Self.goodServing {
                _ = state.failure.recordSuccess()
            }
            state.openedAt = .zero
            return state.failure.recordFailure("\(failure)", now: now)
        }
        guard let metadata else { return }
        logger.warning(
            """
            cannot serve metrics and probes, retrying every \(StatusServer.retrySeconds) seconds: \
            \(remedy(of: failure))
            """, metadata: metadata)
    }

    /// What a person can do.
    ///
    /// The probes of agents that hand over to each other are for one address, so another one is no remedy.
    private func remedy(of failure: HTTPServer.Failure) -> String {
        guard handsOver, failure.isAddressTaken else {
            return "give another address with \(Setting.http.option), or off"
        }
        return "most likely another agent of this node has the address, of another "
            + "\(Setting.handover.option) name or of none: end that agent"
    }
}
