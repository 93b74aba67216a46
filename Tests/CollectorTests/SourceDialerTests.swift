import Addressing
import Collector
import Linux
import Testing
import Time

/// What a dialer does as time passes, which is passed in.
@Suite("A dialer of a source")
struct SourceDialerTests {
    private static let loopback = IPAddress(ipv4: 0x7f00_0001)

    private static func failure(_ outcome: consuming Dialer.Outcome) -> String? {
        switch outcome {
        case .failed(let failure): "\(failure)"
        default: nil
        }
    }

    @Test("gives a connection ten seconds, waits longer each time, and says why and for how long")
    func timeouts() throws {
        let listener = try Listener(at: SocketAddress(Self.loopback, port: 0))
        let dialer = SourceDialer(try Source(url: "rpcap://\(listener.local)"))
        var now = MonotonicTime.zero + .seconds(5)
        for pause in [Duration.seconds(1), .seconds(2), .seconds(4)] {
            #expect(Self.failure(dialer.advance(isReady: false, now: now)) == nil)
            #expect(dialer.state(now: now) == "connecting" && dialer.deadline == now + .seconds(10))
            now += .milliseconds(9999)
            #expect(Self.failure(dialer.advance(isReady: false, now: now)) == nil)
            #expect(dialer.state(now: now) == "connecting")
            now += .milliseconds(1)
            let reason = Self.failure(dialer.advance(isReady: false, now: now))
            let text = "connect to \(listener.local): no answer within 10 s"
            #expect(reason == text && dialer.reason == text)
            let deadline = try #require(dialer.deadline)
            // Rounded up to whole seconds.
            let seconds = (deadline - now + .milliseconds(999)).components.seconds
            #expect(dialer.state(now: now) == "retry in \(seconds)s")
            #expect((now + pause / 2...now + pause).contains(deadline))
            #expect(Self.failure(dialer.advance(isReady: false, now: now)) == nil)
            #expect(dialer.state(now: now).hasPrefix("retry in "))
            now = deadline
        }
    }
}
