import NIOCore
import NIOHTTP1

/// One connection: requests and their answers, in turn.
///
/// Nothing is read while a request is answered. What came along with it is not looked at, and ends the
/// connection behind the answer, as HTTP allows (RFC 9112, 9.3.2 and 9.6).
final class Conversation: ChannelInboundHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let connections: Connections
    private var context: ChannelHandlerContext?
    private var state = State.listening
    /// What has come of a request.
    private var head: HTTPRequestHead?
    private var answeredCount = 0
    /// Whether the answer that is being sent is the last one.
    private var isLast = false
    private var isPausing = false
    private var readCount = 0
    private var deadline: Scheduled<Void>?

    private enum State {
        case listening
        case answering
        /// Everything is said, and the peer is to read it: closed at once, the connection would take
        /// the last words with it.
        case leaving
    }

    private static let requestTime = TimeAmount.seconds(5)
    /// Scrapers come again within a minute.
    private static let idleTime = TimeAmount.seconds(75)
    private static let answerTime = TimeAmount.seconds(10)
    private static let farewellTime = TimeAmount.seconds(1)
    /// What a peer that is told to go may still send.
    private static let farewellReadCountMax = 64
    /// The pause before the next request is read, so that nobody has more than 50 a second answered.
    private static let pause = TimeAmount.milliseconds(20)
    private static let requestCountMax = 1000

    init(_ connections: Connections) { self.connections = connections }

    /// Whether it holds on to a connection without having asked for anything, or for anything more.
    var isListening: Bool { state == .listening }

    func channelActive(context: ChannelHandlerContext) {
        self.context = context
        connections.enter(self)
        end(within: Self.requestTime)
        context.read()
    }

    func channelInactive(context: ChannelHandlerContext) {
        deadline?.cancel()
        connections.leave(self)
        self.context = nil
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state == .listening else { return isLast = true }
        guard !isPausing else { return leave() }
        switch unwrapInboundIn(data) {
        case .head(let head):
            if let refusal = Self.refusal(of: head) {
                answer(refusal, to: head, isLast: true)
            } else {
                self.head = head
            }
        case .body: break
        case .end:
            guard let head else { return }
            connections.hasSpoken(self)
            let path = head.uri.prefix { $0 != "?" }
            // Behind one who wants to speak something else the decoder reads nothing any more.
            let isLast = !head.isKeepAlive || head.headers.contains(name: "upgrade")
            answer(connections.answer(String(path)), to: head, isLast: isLast)
        }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        switch state {
        case .listening: if !isPausing { context.read() }
        case .answering: break
        case .leaving:
            readCount += 1
            if readCount < Self.farewellReadCountMax { context.read() } else { close() }
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        guard event as? ChannelEvent == .inputClosed else { return }
        if state == .answering { isLast = true } else { close() }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch (state, error as? HTTPParserError) {
        case (.listening, .headerOverflow):
            answer(Response("the request is too long\n", .headersTooLarge), isLast: true)
        case (.listening, _?):
            answer(Response("this is not HTTP: \(error)\n", .badRequest), isLast: true)
        case (.leaving, _?): break
        case (.leaving, nil) where error is ByteToMessageDecoderError: break
        case (.answering, _?): isLast = true
        default: close()
        }
    }
}

extension Conversation {
    /// What a request is told that is not one for a page; nil if it is.
    private static func refusal(of head: HTTPRequestHead) -> Response? {
        guard head.method == .GET || head.method == .HEAD else {
            return Response(
                "there is GET and HEAD\n", .methodNotAllowed, headers: [("allow", "GET, HEAD")])
        }
        let length = head.headers["content-length"]
        guard length.allSatisfy({ $0 == "0" }), !head.headers.contains(name: "transfer-encoding")
        else { return Response("nothing is taken with a request\n", .contentTooLarge) }
        return nil
    }

    private func answer(_ response: Response, to head: HTTPRequestHead? = nil, isLast: Bool) {
        guard let context else { return }
        state = .answering
        answeredCount += 1
        self.isLast = isLast || answeredCount >= Self.requestCountMax
        end(within: Self.answerTime)
        let first = response.head(head?.version ?? .http1_1, isLast: self.isLast)
        context.write(wrapOutboundOut(.head(first)), promise: nil)
        if head?.method != .HEAD {
            context.write(wrapOutboundOut(.body(.byteBuffer(response.body))), promise: nil)
        }
        context.writeAndFlush(wrapOutboundOut(.end(nil))).assumeIsolated().whenComplete {
            [self] in
            isSent($0)
        }
    }

    private func isSent(_ result: Result<Void, any Error>) {
        guard state == .answering, case .success = result else { return close() }
        head = nil
        guard !isLast else { return leave() }
        state = .listening
        isPausing = true
        end(within: Self.idleTime)
        context?.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { [self] in
            isPausing = false
            context?.read()
        }
    }

    private func leave() {
        state = .leaving
        end(within: Self.farewellTime)
        context?.close(mode: .output, promise: nil)
        context?.read()
    }

    private func close() {
        context?.close(promise: nil)
    }

    /// Has the connection end when a time has passed, unless another one is set before.
    private func end(within time: TimeAmount) {
        deadline?.cancel()
        deadline = context?.eventLoop.assumeIsolated().scheduleTask(in: time) { [self] in
            // Who has never asked for anything, or not for all of it, is told.
            if state == .listening, answeredCount == 0 || head != nil {
                answer(Response("the request took too long\n", .requestTimeout), isLast: true)
            } else {
                close()
            }
        }
    }

    /// Ends it in favour of another one.
    func makeWay() {
        if state == .listening, answeredCount == 0 {
            answer(Response("there are too many connections\n", .unavailable), isLast: true)
        }
        close()
    }
}
