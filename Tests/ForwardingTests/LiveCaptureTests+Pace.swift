import Forwarding
import KernelSupport
import Linux
import Metrics
import Testing
import Time

/// Rings of edges that are silent, and talk again.
extension LiveCaptureTests {
    /// Waits until the capture has a number of slow rings.
    static func awaitSlowRings(_ count: Int, of capture: LiveCapture) throws {
        let deadline = MonotonicTime.now + .seconds(60)
        while capture.gauges.ringsSlow.value != count {
            try #require(
                MonotonicTime.now < deadline, "\(capture.gauges.ringsSlow.value) are slow")
            _ = try poll([], milliseconds: 5)
        }
    }

    /// A frame with a number in its last four bytes.
    static func frame(_ mark: UInt32) -> [UInt8] {
        var frame = [UInt8](repeating: 7, count: 100)
        frame.replaceSubrange(0..<14, with: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
        for byte in 0..<4 { frame[96 + byte] = UInt8(truncatingIfNeeded: mark >> (24 - 8 * byte)) }
        return frame
    }

    private static func send(
        _ numbers: Range<UInt32>, _ sender: borrowing PacketSender
    ) throws {
        for number in numbers { try sender.send(frame(number)) }
    }

    @Test(
        "has a slow ring while its edge is silent, and loses and doubles nothing when that changes")
    func pace() throws {
        try Self.onNode {
            var connection = DataConnection.awaited
            var pair = try Pair(&connection)
            // What is a silence here is a talk elsewhere, so the ring's pace changes all the time.
            let capture = try Self.capture(to: connection, silenceTime: .milliseconds(300))
            let sender = try PacketSender(on: try interfaceIndex("here"))
            try Self.awaitSlowRings(1, of: capture)
            #expect(capture.counters[.ringsReplaced] == 1)
            var count: UInt32 = 0
            let deadline = MonotonicTime.now + .seconds(60)
            while capture.counters[.ringsReplaced] < 5, MonotonicTime.now < deadline {
                try Self.send(count..<count + 20, sender)
                count += 20
                _ = try poll([], milliseconds: 10)
            }
            #expect(capture.counters[.ringsReplaced] >= 5)
            let numbers = try pair.packets(Int(count)).map(\.mark)
            #expect(numbers.elementsEqual(0..<count))
            Self.finish(capture)
            #expect(capture.counters.counts.frames[.droppedByRing] == 0)
        }
    }

    @Test("sends what a slow ring holds when it ends, and ends soon")
    func endOfSlow() throws {
        try Self.onNode {
            let endTime = try Self.shortestTime {
                var connection = DataConnection.awaited
                var pair = try Pair(&connection)
                let capture = try Self.capture(to: connection, silenceTime: .milliseconds(100))
                let sender = try PacketSender(on: try interfaceIndex("here"))
                try Self.awaitSlowRings(1, of: capture)
                try Self.send(0..<10, sender)
                let begin = MonotonicTime.now
                Self.finish(capture)
                let time = MonotonicTime.now - begin
                #expect(try pair.packets(10).map(\.mark) == Array(0..<10))
                #expect(capture.counters[.packetsAbandoned] == 0)
                return time
            }
            // The end of a capture has a second for what waits.
            #expect(endTime < .milliseconds(900))
        }
    }
}
