import Endpoint
import Glibc
import Kernel
import Log
import Logging

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

    init(_ context: AgentContext, _ address: SocketAddress, logger: Logger) {
        (self.context, self.address, self.logger) = (context, address, logger)
    }

    /// Begins, and returns at once.
    func start() throws(SystemError) {
        try Thread { [self] in
            nameThread("podwire-http")
            guard let listener = listen() else { return }
            logger.info(
                "metrics and probes are answered",
                metadata: [
                    "address": "\(listener.local)",
                    "connections_max": .number(HTTPServer.connectionCountMax),
                ])
            let pages = StatusPages(context.status, context.feed, context.settings)
            HTTPServer(listener) { pages.response($0) }.run { [logger] error in
                logger.error(
                    "metrics and probes are not answered", metadata: ["reason": "\(error)"])
            }
        }.detach()
    }

    /// Nil if the agent stops before.
    private func listen() -> Listener? {
        var failure: SystemError?
        while true {
            do throws(SystemError) {
                return try Listener(at: address)
            } catch {
                if error != failure {
                    logger.warning(
                        """
                        metrics and probes are not answered, it is tried again every \
                        \(Self.retryMilliseconds / 1000) seconds: give another address with \
                        \(Setting.http.option), or off
                        """, metadata: ["reason": "\(error)"])
                }
                failure = error
            }
            guard !context.isStopping(milliseconds: Self.retryMilliseconds) else { return nil }
        }
    }
}
