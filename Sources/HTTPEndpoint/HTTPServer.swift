package import Linux
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP/1.1 server for GET and HEAD on one thread.
///
/// It bounds the number of connections, the size of a request, the time for a request to arrive and
/// for a response to be read, and the rate of all of these. The newest connection is always served,
/// so idle connections keep nobody out.
package struct HTTPServer: ~Copyable {
    private let listener: Listener
    private let answer: @Sendable (String) -> Response?

    /// A failure to serve, such as that of the socket that accepts connections.
    package struct Failure: Error, CustomStringConvertible {
        /// NIO's words.
        let reason: String

        /// NIO's words.
        package var description: String { reason }
    }

    /// The most connections, each of which has a descriptor.
    package static let connectionCountMax = ConnectionTable.countMax

    private static let readByteCount = 4096
    /// The longest headers.
    ///
    /// Browsers and proxies send shorter ones, and none is used here.
    private static let headerByteCountMax = 8192
    private static let headerCountMax = 100

    /// Creates a server.
    ///
    /// - Parameters:
    ///   - listener: The socket that accepts connections.
    ///   - answer: Returns the response for a path without its query, or nil if there is no such
    ///     page. The server's thread calls it, and waits for it.
    package init(
        _ listener: consuming Listener, answer: @escaping @Sendable (String) -> Response?
    ) {
        self.listener = listener
        self.answer = answer
    }

    /// Serves on the calling thread alone.
    ///
    /// - Throws: The reason why serving has failed; it does not return otherwise.
    package consuming func run() throws(Failure) -> Never {
        let answer = answer
        let fileDescriptor = listener.intoDescriptor().release()
        let failure = LastError()
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            let table = NIOLoopBound(ConnectionTable(answer), eventLoop: loop)
            Self.bootstrap(loop, table, failure).withBoundSocket(fileDescriptor)
                .flatMap(\.closeFuture)
                .whenComplete { result in
                    if case .failure(let error) = result { failure.set(error) }
                    loop.shutdownGracefully { _ in }
                }
        }
        throw Failure(reason: "\(failure.error)")
    }

    private static func bootstrap(
        _ loop: any EventLoop, _ table: NIOLoopBound<ConnectionTable>, _ failure: LastError
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
                    try pipeline.addHandler(HTTPConnectionHandler(table.value))
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

/// A handler that pauses between accepts, which limits them to 800 a second.
///
/// A peer that connects again and again costs no more than that, and those behind it in the kernel's
/// queue do not wait for long.
private final class AcceptPace: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// The number of connections that are accepted at once.
    static let count: UInt = 16
    private static let pause = TimeAmount.milliseconds(20)

    private let failure: LastError

    init(_ failure: LastError) { self.failure = failure }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) { context.read() }
    }

    /// Keeps an error, which need not end the channel: there may be no descriptor left.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        failure.set(error)
        context.fireErrorCaught(error)
    }
}

/// The last error.
private final class LastError: Sendable {
    private let last = Mutex<any Error>(ChannelError.ioOnClosedChannel)

    var error: any Error { last.withLock { $0 } }

    func set(_ error: any Error) { last.withLock { $0 = error } }
}
