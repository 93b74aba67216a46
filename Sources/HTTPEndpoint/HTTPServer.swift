package import Linux

import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// Answers GET and HEAD over HTTP/1.1, all on one thread, and knows nothing of what it says.
///
/// Whoever can connect can do no harm: bounded are connections, what is read of a request, the time that
/// one takes to arrive and that an answer takes to be read, and how often anything of that happens. Who
/// comes last is served, so that those who only hold on to connections keep nobody out.
package struct HTTPServer: ~Copyable {
    private let listener: Listener
    private let answer: @Sendable (String) -> Response?

    /// How many connections it has at most, each with a descriptor.
    package static let connectionCountMax = Connections.countMax

    private static let readByteCount = 4096
    /// What requests have in their headers is for browsers and proxies, and nothing to us.
    private static let headerByteCountMax = 8192
    private static let headerCountMax = 100

    /// The closure answers for a path, without what follows a question mark; nil if there is no such
    /// page. It is called on the thread that runs the server, which waits for it.
    package init(
        _ listener: consuming Listener, answer: @escaping @Sendable (String) -> Response?
    ) {
        self.listener = listener
        self.answer = answer
    }

    /// Serves on this thread, and no other one, until that fails, and throws why it did.
    package consuming func run() throws -> Never {
        let answer = answer
        let fileDescriptor = listener.intoDescriptor().release()
        let failure = Failure()
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            let connections = NIOLoopBound(Connections(answer), eventLoop: loop)
            Self.bootstrap(loop, connections, failure).withBoundSocket(fileDescriptor)
                .flatMap(\.closeFuture)
                .whenComplete { result in
                    if case .failure(let error) = result { failure.set(error) }
                    loop.shutdownGracefully { _ in }
                }
        }
        throw failure.error
    }

    private static func bootstrap(
        _ loop: any EventLoop, _ connections: NIOLoopBound<Connections>, _ failure: Failure
    ) -> ServerBootstrap {
        ServerBootstrap(group: loop)
            .serverChannelOption(ChannelOptions.autoRead, value: false)
            .serverChannelOption(ChannelOptions.maxMessagesPerRead, value: AcceptPace.count)
            .serverChannelInitializer { channel in
                loop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(AcceptPace(failure))
                }
            }
            .childChannelOption(ChannelOptions.autoRead, value: false)
            .childChannelOption(ChannelOptions.maxMessagesPerRead, value: 1)
            .childChannelOption(
                ChannelOptions.recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: readByteCount)
            )
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .childChannelInitializer { channel in
                loop.makeCompletedFuture {
                    let pipeline = channel.pipeline.syncOperations
                    try pipeline.addHandler(HTTPResponseEncoder())
                    try pipeline.addHandler(ByteToMessageHandler(decoder()))
                    try pipeline.addHandler(Conversation(connections.value))
                }
            }
    }

    private static func decoder() -> HTTPRequestDecoder {
        var limits = NIOHTTPDecoderLimitConfiguration()
        limits.maxHeaderFieldSize = headerByteCountMax
        limits.maxHeaderListSize = headerByteCountMax
        limits.maxHeaderFieldCount = headerCountMax
        return HTTPRequestDecoder(leftOverBytesStrategy: .dropBytes, limitConfiguration: limits)
    }
}

/// Takes some connections and then pauses, 800 a second: those who connect again and again cost no more
/// than that, and nobody who waits in the kernel's queue behind them waits for long.
private final class AcceptPace: ChannelInboundHandler {
    typealias InboundIn = any Channel

    static let count: UInt = 16
    private static let pause = TimeAmount.milliseconds(20)

    private let failure: Failure

    init(_ failure: Failure) { self.failure = failure }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { context.read() }
    }

    /// What ends the channel, or does not: there may be no descriptor for the next connection.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure.set(error)
        context.fireErrorCaught(error)
    }
}

/// What has gone wrong last.
private final class Failure: Sendable {
    private let last = Mutex<any Error>(ChannelError.ioOnClosedChannel)

    var error: any Error { last.withLock { $0 } }

    func set(_ error: any Error) { last.withLock { $0 = error } }
}
