import Addressing
import Agent
import Forwarding
import Linux
import Testing
import Time

@Suite("A data connection that is awaited")
struct AwaitedDataTests {
    private static let begin = MonotonicTime.zero + .seconds(1000)

    private func loopback(_ last: Int, port: UInt16 = 0) throws -> SocketAddress {
        SocketAddress(try #require(IPAddress("127.0.0.\(last)")), port: port)
    }

    private func wait(_ awaited: borrowing AwaitedData) throws -> Bool {
        try !poll(
            [(awaited.fileDescriptor, awaited.interest)], until: .now + .seconds(5))[0].isEmpty
    }

    @Test("has ten seconds to come")
    func deadline() throws {
        let awaited = AwaitedData(try Listener(at: try loopback(1)), now: Self.begin)
        #expect(awaited.deadline == Self.begin + .seconds(10))
    }

    @Test("is the one from the control connection's host, and no other")
    func peer() throws {
        let listener = try Listener(at: try loopback(1))
        let address = listener.local
        var awaited = AwaitedData(listener, now: Self.begin)
        let connecting = try PendingConnection(to: address)
        #expect(try wait(awaited))
        // Comes from 127.0.0.1, and the control connection is 127.0.0.2's.
        let isRefused = try awaited.proceed(peer: try loopback(2), tls: nil) == nil
        #expect(isRefused)
        _ = consume connecting
        let again = try PendingConnection(to: address)
        #expect(try wait(awaited))
        let isAccepted = try awaited.proceed(peer: try loopback(1), tls: nil) != nil
        #expect(isAccepted)
        _ = consume again
    }

    @Test("is made by the agent where the peer's port is listened on, or says why it is not")
    func connect() throws {
        let listener = try Listener(at: try loopback(1))
        let address = listener.local
        var awaited = AwaitedData(try PendingConnection(to: address), now: Self.begin)
        #expect(try wait(awaited))
        let isConnected = try awaited.finishConnecting() != nil
        #expect(isConnected)
        _ = consume listener
        var refused = AwaitedData(try PendingConnection(to: address), now: Self.begin)
        #expect(try wait(refused))
        var failure: SystemError?
        do throws(SystemError) { _ = try refused.finishConnecting() } catch { failure = error }
        #expect(failure?.errno == .connectionRefused)
    }
}
