import Settings
import HTTPEndpoint
import Glibc
import Linux
import Log
import Logging
import Time

/// Answers over HTTP where settings say so, on a thread of its own.
///
/// An address that cannot be had stops nothing: packets are what the agent is for, and a node shares its
/// ports with all that run in its network. It says what to do about it, and tries again for as long as
/// it runs, since the one who has the port may be the agent that this one replaces.
struct StatusServer {
    private let context: AgentContext
    private let address: SocketAddress
    private let logger: Logger

    private static let retryMilliseconds: CInt = 5000
    /// Where it went well for so long the next failure is a new one.
    private static let servedNanoseconds: UInt64 = 60_000_000_000

    init(_ context: AgentContext, _ address: SocketAddress, logger: Logger) {
        (self.context, self.address, self.logger) = (context, address, logger)
    }

    /// Begins, and returns at once.
    func start() throws(SystemError) {
        try Thread { [self] in
            nameThread("podwire-http")
            let pages = StatusPages(context.status, context.feed, context.settings)
            var failure = FailureLogThrottle()
            repeat {
                let begin = monotonicNanoseconds()
                do {
                    try serve(pages)
                } catch {
                    let now = monotonicNanoseconds()
                    if now >= begin + Self.servedNanoseconds { _ = failure.recordSuccess() }
                    if let metadata = failure.recordFailure(
                        "\(error)", now: MonotonicTime(nanoseconds: now))
                    {
                        complain(metadata)
                    }
                }
            } while !context.isStopping(milliseconds: Self.retryMilliseconds)
        }.detach()
    }

    private func serve(_ pages: StatusPages) throws -> Never {
        let listener = try Listener(at: address)
        logger.info(
            "metrics and probes are answered",
            metadata: [
                "address": "\(listener.local)",
                "connections_max": .number(HTTPServer.connectionCountMax),
            ])
        try HTTPServer(listener) { pages.response($0) }.run()
    }

    private func complain(_ metadata: Logger.Metadata) {
        logger.warning(
            """
            metrics and probes are not answered, it is tried again every \
            \(Self.retryMilliseconds / 1000) seconds: give another address with \
            \(Setting.http.option), or off
            """, metadata: metadata)
    }
}
