import Edges
import HTTPEndpoint
import Linux
import Log
import Logging
import Settings
import Time

/// The HTTP endpoint for metrics and probes, on a thread of its own.
///
/// An address in use stops nothing: the agent is there for packets, and a node shares its ports with
/// all programs in its network. The server logs the remedy and tries again for as long as the agent
/// runs, since the port may belong to the agent that this one replaces.
struct StatusServer {
    private let address: SocketAddress
    private let pages: StatusPages
    private let stop: StopSignal
    private let logger: Logger

    private static let retryInterval = Duration.seconds(5)
    /// After serving for this long a failure is a new one.
    private static let goodServing = Duration.seconds(60)

    init(_ address: SocketAddress, _ pages: StatusPages, stop: StopSignal, logger: Logger) {
        (self.address, self.pages) = (address, pages)
        (self.stop, self.logger) = (stop, logger)
    }

    /// Starts the thread, and returns at once.
    func start() throws(SystemError) {
        try Thread { [self] in
            nameThread("podwire-http")
            var failure = FailureLogThrottle()
            repeat {
                let begin = MonotonicTime.now
                do {
                    try serve()
                } catch {
                    let now = MonotonicTime.now
                    if now - begin >= Self.goodServing { _ = failure.recordSuccess() }
                    if let metadata = failure.recordFailure("\(error)", now: now) {
                        logger.warning(
                            """
                            cannot serve metrics and probes, retrying every \
                            \(Self.retryInterval.components.seconds) seconds: give another \
                            address with \(Setting.http.option), or off
                            """, metadata: metadata)
                    }
                }
            } while !stop.wait(for: Self.retryInterval)
        }.detach()
    }

    private func serve() throws -> Never {
        let listener = try Listener(at: address)
        logger.info(
            "serving metrics and probes",
            metadata: [
                "address": "\(listener.local)",
                "connections_max": .number(HTTPServer.connectionCountMax),
            ])
        try HTTPServer(listener) { pages.response($0, now: .now) }.run()
    }
}
