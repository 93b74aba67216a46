import NIOCore

/// The open connections, those active most recently last.
///
/// It belongs to the event loop.
final class ConnectionTable {
    private let answer: @Sendable (RequestTarget) -> Response?
    private var handlers: [HTTPConnectionHandler] = []

    /// The most connections: for a scraper or two, the kubelet's probes and a few people.
    static let countMax = 32

    init(_ answer: @escaping @Sendable (RequestTarget) -> Response?) { self.answer = answer }

    /// The response to a request.
    func response(to target: RequestTarget) -> Response {
        answer(target) ?? Response("there is no such page; / lists the pages\n", .notFound)
    }

    /// Adds a connection, and closes another one if there are too many then.
    ///
    /// Every new connection is served. The one to close is that which waits for a request and has
    /// been inactive for longest, or the most inactive of all if none waits.
    func add(_ handler: HTTPConnectionHandler) {
        if handlers.count >= Self.countMax {
            let index = handlers.firstIndex(where: \.isWaiting) ?? 0
            handlers.remove(at: index).evict()
        }
        handlers.append(handler)
    }

    /// Notes that a connection has made a request.
    func markActive(_ handler: HTTPConnectionHandler) {
        remove(handler)
        handlers.append(handler)
    }

    /// Closes all connections.
    func closeAll() {
        let all = handlers
        handlers = []
        for handler in all { handler.close() }
    }

    /// Removes a connection that is closed.
    func remove(_ handler: HTTPConnectionHandler) {
        handlers.removeAll { $0 === handler }
    }
}
