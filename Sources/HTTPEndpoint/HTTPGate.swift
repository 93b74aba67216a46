import NIOCore
import Synchronization

/// Closes an HTTP server, with its sockets, and opens it again.
///
/// Any thread may do so, but for the server's.
package final class HTTPGate: Sendable {
    private let state = Mutex(State())

    private struct State {
        var isOpen = true
        /// The sockets that accept connections.
        var channels: [any Channel] = []
        var loop: (any EventLoop)?
        var closeConnections: (@Sendable () -> Void)?
        var listenAgain: (@Sendable () -> Void)?
    }

    /// Creates a gate that is open.
    package init() {}

    /// Whether the server may listen.
    var isOpen: Bool { state.withLock { $0.isOpen } }

    /// Records the server's loop, what closes its connections there, and what has it listen there.
    func attach(
        _ loop: any EventLoop, closeConnections: @escaping @Sendable () -> Void,
        listenAgain: @escaping @Sendable () -> Void
    ) {
        state.withLock { state in
            state.loop = loop
            (state.closeConnections, state.listenAgain) = (closeConnections, listenAgain)
        }
    }

    /// Records a socket that accepts connections.
    func add(_ channel: any Channel) {
        let isLate = state.withLock { state in
            state.channels.removeAll { !$0.isActive }
            state.channels.append(channel)
            return !state.isOpen
        }
        if isLate { channel.close(promise: nil) }
    }

    /// Closes all sockets, and waits for that.
    package func close() {
        let (channels, loop, closeConnections) = state.withLock { state in
            state.isOpen = false
            defer { state.channels = [] }
            return (state.channels, state.loop, state.closeConnections)
        }
        for channel in channels { try? channel.close().wait() }
        if let loop, let closeConnections { try? loop.submit(closeConnections).wait() }
    }

    /// Has the server listen again, at once.
    package func open() {
        let (loop, listenAgain) = state.withLock { state in
            state.isOpen = true
            return (state.loop, state.listenAgain)
        }
        if let loop, let listenAgain { loop.execute(listenAgain) }
    }
}
