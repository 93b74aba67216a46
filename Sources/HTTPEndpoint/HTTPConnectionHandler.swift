import NIOCore
import NIOHTTP1

/// The handler of one connection: requests and their responses, in turn.
///
/// Nothing is read while a request is answered. If more has come along with it, the connection ends
/// behind the response, as HTTP allows (RFC 9112, 9.3.2 and 9.6).
final class HTTPConnectionHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let table: ConnectionTable
    private var context: ChannelHandlerContext?
    private var state = State.waiting
    /// The head of a request that is not complete.
    private var head: HTTPRequestHead?
    private var responseCount = 0
    /// Whether the response that is being sent is the last one.
    private var isLast = false
    private var isPausing = false
    private var readCount = 0
    private var deadline: Scheduled<Void>?

    private enum State {
        /// A request is waited for.
        case waiting
        /// A response is being sent.
        case responding
        /// The last response is sent, and the peer has time to read it.
        ///
        /// If the connection were closed at once, the response could be lost with it.
        case closing
    }

    /// The longest time that a request takes to arrive.
    private static let requestTime = TimeAmount.seconds(5)
    /// The time for which a connection is kept between requests: scrapers come every minute.
    private static let idleTime = TimeAmount.seconds(75)
    /// The longest time that the peer takes to read a response.
    private static let responseTime = TimeAmount.seconds(10)
    /// The time for which the peer can read the last response.
    private static let closingTime = TimeAmount.seconds(1)
    /// The most reads while closing, of which the content is dropped.
    private static let closingReadCountMax = 64
    /// The pause between requests, which limits each connection to 50 a second.
    private static let pause = TimeAmount.milliseconds(20)
    /// The most requests of one connection.
    private static let requestCountMax = 1000

    init(_ table: ConnectionTable) { self.table = table }

    /// Whether the connection is open without a request.
    var isWaiting: Bool { state == .waiting }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        table.add(self)
        end(within: Self.requestTime)
        context.read()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        table.remove(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state == .waiting else {
            isLast = true
            return
        }
        guard !isPausing else { return beginClosing() }
        switch unwrapInboundIn(data) {
        case .head(let head):
            if let refusal = Self.refusal(of: head) {
                send(refusal, to: head, isLast: true)
            } else {
                self.head = head
            }
        case .body: break
        case .end:
            guard let head else { return }
            table.markActive(self)
            // Behind a request to upgrade the decoder reads nothing any more.
            let isLast = !head.isKeepAlive || head.headers.contains(name: "upgrade")
            send(table.response(to: RequestTarget(head.uri)), to: head, isLast: isLast)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        switch state {
        case .waiting: if !isPausing { context.read() }
        case .responding: break
        case .closing:
            readCount += 1
            if readCount < Self.closingReadCountMax { context.read() } else { close() }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event as? ChannelEvent == .inputClosed else { return }
        if state == .responding { isLast = true } else { close() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch (state, error as? HTTPParserError) {
        case (.waiting, .headerOverflow):
            send(Response("the request is too long\n", .headersTooLarge), isLast: true)
        case (.waiting, _?):
            send(Response("this is not HTTP: \(error)\n", .badRequest), isLast: true)
        case (.closing, _?): break
        case (.closing, nil) where error is ByteToMessageDecoderError: break
        case (.responding, _?): isLast = true
        default: close()
        }
    }
}

extension HTTPConnectionHandler {
    /// The response to a request that is not one for a page, or nil if it is one.
    private static func refusal(of head: HTTPRequestHead) -> Response? {
        guard head.method == .GET || head.method == .HEAD else {
            return Response(
                "only GET and HEAD are supported\n", .methodNotAllowed,
                headers: [("allow", "GET, HEAD")])
        }
        let length = head.headers["content-length"]
        guard length.allSatisfy({ $0 == "0" }), !head.headers.contains(name: "transfer-encoding")
        else { return Response("a request must not have a body\n", .contentTooLarge) }
        return nil
    }

    private func send(_ response: Response, to head: HTTPRequestHead? = nil, isLast: Bool) {
        guard let context else { return }
        state = .responding
        responseCount += 1
        self.isLast = isLast || responseCount >= Self.requestCountMax
        end(within: Self.responseTime)
        let first = response.head(head?.version ?? .http1_1, isLast: self.isLast)
        context.write(wrapOutboundOut(.head(first)), promise: nil)
        if head?.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(response.body))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete {
            [self] in
            handleSent($0)
        }
    }

    private func handleSent(_ result: Result<Void, any Error>) {
        guard state == .responding, case .success = result else { return close() }
        head = nil
        guard !isLast else { return beginClosing() }
        state = .waiting
        isPausing = true
        end(within: Self.idleTime)
        context?.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in
            isPausing = false
            context?.read()
        }
    }

    /// Ends the stream to the peer, and gives it time to read the last response.
    private func beginClosing() {
        state = .closing
        end(within: Self.closingTime)
        context?.close(mode: .output, promise: nil)
        context?.read()
    }

    /// Closes the connection, whatever it waits for.
    func close() {
        context?.close(promise: nil)
    }

    /// Schedules the end of the connection, in place of what was scheduled before.
    private func end(within time: TimeAmount) {
        deadline?.cancel()
        deadline = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { [self] in
            // A peer that has made no request, or not all of it, is told.
            if state == .waiting, responseCount == 0 || head != nil {
                send(Response("the request took too long\n", .requestTimeout), isLast: true)
            } else {
                close()
            }
        }
    }

    /// Closes the connection in favour of another one.
    func evict() {
        if state == .waiting, responseCount == 0 {
            send(Response("there are too many connections\n", .unavailable), isLast: true)
        }
        close()
    }
}
