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
/// runs, since the port may belong to the agent that this one replaces.
struct StatusServer {
    private let addresses: [SocketAddress]
    private let pages: StatusPages
    private let gate: HTTPGate
    private let logger: Logger

    private static let retrySeconds: Int64 = 5

    init(
        _ addresses: [SocketAddress], _ pages: StatusPages, gate: HTTPGate = HTTPGate(),
        logger: Logger
    ) {
        (self.addresses, self.pages, self.gate, self.logger) = (addresses, pages, gate, logger)
    }

    /// Starts the thread, and returns at once.
    func start() throws(SystemError) {
        let places = addresses.map { address in
            let place = StatusPlace(address, retrySeconds: Self.retrySeconds, logger: logger)
            return HTTPServer.Place(
                open: { place.open() }, ended: { place.recordFailure("\($0)") })
        }
        let server = HTTPServer(places, gate: gate, retrySeconds: Self.retrySeconds) { [pages] in
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
    private let retrySeconds: Int64
    private let logger: Logger
    private let state = Mutex(State())

    private struct State {
        var failure = FailureLogThrottle()
        var openedAt = MonotonicTime.zero
    }

    /// After serving for this long a failure is a new one.
    private static let goodServing = Duration.seconds(60)

    init(_ address: SocketAddress, retrySeconds: Int64, logger: Logger) {
        (self.address, self.retrySeconds, self.logger) = (address, retrySeconds, logger)
    }

    /// Begins to listen, or logs why that is impossible.
    func open() -> Listener? {
        do {
            let listener = try Listener(at: address)
            state.withLock { $0.openedAt = .now }
            logger.info(
                "serving metrics and probes",
                metadata: [
                    "address": "\(listener.local)",
                    "connections_max": .number(HTTPServer.connectionCountMax),
                ])
            return listener
        } catch {
            recordFailure("\(error)")
            return nil
        }
    }

    /// Logs why the address is not served.
    func recordFailure(_ reason: String) {
        let metadata = state.withLock { state in
            let now = MonotonicTime.now
            if state.openedAt != .zero, now - state.openedAt >= Self.goodServing {
                _ = state.failure.recordSuccess()
            }
            state.openedAt = .zero
            return state.failure.recordFailure(reason, now: now)
        }
        guard let metadata else { return }
        logger.warning(
            """
            cannot serve metrics and probes, retrying every \(retrySeconds) seconds: give another \
            address with \(Setting.http.option), or off
            """, metadata: metadata)
    }
}
