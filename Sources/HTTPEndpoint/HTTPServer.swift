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
    private let takeoverTime: TimeAmount
    private let answer: @Sendable (RequestTarget) -> Response?

    /// An address at which the server listens.
    package struct Place: Sendable {
        /// Begins to listen.
        let open: @Sendable () throws(SystemError) -> Listener
        /// Is told why it is not listened at, or not any more.
        let failed: @Sendable (Failure) -> Void

        /// Describes a place by two closures, which the server's thread calls.
        package init(
            open: @escaping @Sendable () throws(SystemError) -> Listener,
            failed: @escaping @Sendable (Failure) -> Void
        ) {
            (self.open, self.failed) = (open, failed)
        }
    }

    /// A failure to listen, or to serve, such as that of the socket that accepts connections.
    package struct Failure: Error, CustomStringConvertible {
        /// The reason in the kernel's words, or in NIO's.
        package let description: String
        /// Whether another socket has the address.
        package let isAddressTaken: Bool
    }

    /// The most connections, each of which has a descriptor.
    package static let connectionCountMax = ConnectionTable.countMax

    private static let readByteCount = 4096
    /// The longest headers.
    ///
    /// Browsers and proxies send shorter ones, and none is used here.
    private static let headerByteCountMax = 8192
    private static let headerCountMax = 100
    /// The wait before a place is tried again that another process is about to leave.
    private static let takeoverInterval = TimeAmount.milliseconds(50)
    /// Creates a server.
    ///
    /// - Parameters:
    ///   - places: Where it listens.
    ///   - gate: Closes and opens the server.
    ///   - retrySeconds: The wait before a place is tried again that could not be opened, or has ended.
    ///   - takeoverSeconds: How long another process may still have the places when the server begins, and
    ///     when the gate is opened: they are tried again soon, and nobody is told that they are taken.
    ///   - answer: Returns the response to a request, or nil if there is no such page. The server's
    ///     thread calls it, and waits for it.
    package init(
        _ places: [Place], gate: HTTPGate = HTTPGate(), retrySeconds: Int64,
        takeoverSeconds: Int64 = 0,
        answer: @escaping @Sendable (RequestTarget) -> Response?
    ) {
        (self.places, self.gate) = (places, gate)
        retryInterval = .seconds(retrySeconds)
        takeoverTime = .seconds(takeoverSeconds)
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
                    beginTakeover(retries)
                    for index in retries.value.takeAll() { open(index, on: loop, table, retries) }
                })
            beginTakeover(retries)
            for index in places.indices { open(index, on: loop, table, retries) }
        }
    }

    private func beginTakeover(_ retries: NIOLoopBound<Retries>) {
        retries.value.takesOverUntil = .now() + takeoverTime
    }

    private func open(
        _ index: Int, on loop: any EventLoop, _ table: NIOLoopBound<ConnectionTable>,
        _ retries: NIOLoopBound<Retries>
    ) {
        let place = places[index]
        guard gate.isOpen else { return retry(index, on: loop, table, retries) }
        let listener: Listener
        do throws(SystemError) {
            listener = try place.open()
        } catch {
            let isTaken = error.errno == .addressInUse
            if isTaken, .now() < retries.value.takesOverUntil {
                return retry(index, in: Self.takeoverInterval, on: loop, table, retries)
            }
            place.failed(Failure(description: "\(error)", isAddressTaken: isTaken))
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
                if gate.isOpen {
                    place.failed(
                        Failure(description: "\(failure.error)", isAddressTaken: false))
                }
                retry(index, on: loop, table, retries)
            }
    }

    private func retry(
        _ index: Int, in interval: TimeAmount? = nil, on loop: any EventLoop,
        _ table: NIOLoopBound<ConnectionTable>,
        _ retries: NIOLoopBound<Retries>
    ) {
        retries.value.pending[index] = loop.scheduleTask(in: interval ?? retryInterval) {
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
    /// Until when places are about to be left by another process.
    var takesOverUntil = NIODeadline.uptimeNanoseconds(0)

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
