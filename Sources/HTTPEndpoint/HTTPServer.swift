package import Linux
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP/1.1 server for GET and HEAD on one thread, at one address or several.
///
/// It bounds the number of connections, the size of a request, the time for a request to arrive and
/// for a response to be read, and the rate of all of these, for all addresses together. The newest
/// connection is always served, so idle connections keep nobody out.
package struct HTTPServer: Sendable {
    private let places: [Place]
    private let gate: HTTPGate
    private let retryInterval: TimeAmount
    private let answer: @Sendable (RequestTarget) -> Response?

    /// An address at which the server listens.
    package struct Place: Sendable {
        /// Begins to listen; nil if that is impossible now.
        let open: @Sendable () -> Listener?
        /// Is told when the listener has ended, and why.
        let ended: @Sendable (Failure) -> Void

        /// Describes a place by two closures, which the server's thread calls.
        package init(
            open: @escaping @Sendable () -> Listener?, ended: @escaping @Sendable (Failure) -> Void
        ) {
            (self.open, self.ended) = (open, ended)
        }
    }

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
    ///   - places: Where it listens.
    ///   - gate: Closes and opens the server.
    ///   - retrySeconds: The wait before a place is tried again that could not be opened, or has ended.
    ///   - answer: Returns the response to a request, or nil if there is no such page. The server's
    ///     thread calls it, and waits for it.
    package init(
        _ places: [Place], gate: HTTPGate = HTTPGate(), retrySeconds: Int64,
        answer: @escaping @Sendable (RequestTarget) -> Response?
    ) {
        (self.places, self.gate) = (places, gate)
        retryInterval = .seconds(retrySeconds)
        self.answer = answer
    }

    /// Serves on the calling thread alone, for as long as the program runs.
    package func run() {
        MultiThreadedEventLoopGroup.withCurrentThreadAsEventLoop { loop in
            let table = NIOLoopBound(ConnectionTable(answer), eventLoop: loop)
            let retries = NIOLoopBound(Retries(), eventLoop: loop)
            gate.attach(
                loop, closeConnections: { table.value.closeAll() },
                listenAgain: {
                    for index in retries.value.takeAll() { open(index, on: loop, table, retries) }
                })
            for index in places.indices { open(index, on: loop, table, retries) }
        }
    }

    private func open(
        _ index: Int, on loop: any EventLoop, _ table: NIOLoopBound<ConnectionTable>,
        _ retries: NIOLoopBound<Retries>
    ) {
        let place = places[index]
        guard gate.isOpen, let listener = place.open() else {
            return retry(index, on: loop, table, retries)
        }
        let failure = LastError()
        Self.bootstrap(loop, table, failure, placeCount: places.count)
            .withBoundSocket(listener.intoDescriptor().release())
            .flatMap { channel in
                gate.add(channel)
                return channel.closeFuture
            }
            .whenComplete { result in
                if case .failure(let error) = result { failure.set(error) }
                if gate.isOpen { place.ended(Failure(reason: "\(failure.error)")) }
                retry(index, on: loop, table, retries)
            }
    }

    private func retry(
        _ index: Int, on loop: any EventLoop, _ table: NIOLoopBound<ConnectionTable>,
        _ retries: NIOLoopBound<Retries>
    ) {
        retries.value.pending[index] = loop.scheduleTask(in: retryInterval) {
            retries.value.pending[index] = nil
            open(index, on: loop, table, retries)
        }
    }

    private static func bootstrap(
        _ loop: any EventLoop, _ table: NIOLoopBound<ConnectionTable>, _ failure: LastError,
        placeCount: Int
    ) -> ServerBootstrap {
        ServerBootstrap(group: loop)
            .serverChannelOption(ChannelOptions.autoRead, value: false)
            .serverChannelOption(ChannelOptions.maxMessagesPerRead, value: AcceptPace.count)
            .serverChannelInitializer { channel in
                loop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        AcceptPace(failure, placeCount: placeCount))
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

/// The places that wait until they are tried again, by their index.
private final class Retries {
    var pending: [Int: Scheduled<Void>] = [:]

    /// Ends the waits.
    func takeAll() -> [Int] {
        defer { pending = [:] }
        for task in pending.values { task.cancel() }
        return pending.keys.sorted()
    }
}

/// A handler that pauses between accepts, which limits them to 800 a second at all places together.
///
/// A peer that connects again and again costs no more than that, and those behind it in the kernel's
/// queue do not wait for long.
private final class AcceptPace: ChannelInboundHandler {
    typealias InboundIn = any Channel

    /// The number of connections that are accepted at once.
    static let count: UInt = 16
    private static let pauseMilliseconds: Int64 = 20

    private let failure: LastError
    private let pause: TimeAmount

    init(_ failure: LastError, placeCount: Int) {
        self.failure = failure
        pause = .milliseconds(Self.pauseMilliseconds * Int64(placeCount))
    }

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        context.read()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        context.fireChannelReadComplete()
        context.eventLoop.assumeIsolated().scheduleTask(in: pause) { context.read() }
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
