import Forwarding
import Testing
import Time

@Suite("The pace of a ring")
struct TalkMeterTests {
    private static let begin = MonotonicTime(nanoseconds: 50_000_000_000)

    /// A meter of an edge that was silent for a window.
    private static func silent() -> TalkMeter {
        var meter = TalkMeter(now: begin - TalkMeter.window)
        #expect(meter.look(now: begin - .milliseconds(1)) == nil)
        #expect(meter.look(now: begin) == .slow)
        return meter
    }

    /// Returns after how many milliseconds a ring becomes quick, if blocks come at these times.
    private static func talks(_ milliseconds: [Int]) -> Int? {
        var meter = silent()
        return milliseconds.first { meter.recordBlock(now: begin + .milliseconds($0)) == .quick }
    }

    @Test("becomes quick at the third block within 0.8 s")
    func talk() {
        #expect(Self.talks([5000, 5170, 5340, 5510]) == 5340)
        #expect(Self.talks([5000, 5170, 5799]) == 5799)
        #expect(Self.talks([5000, 5170, 5800, 6600, 6770, 7399]) == 7399)
        // A burst fills blocks.
        #expect(Self.talks([5000, 5001, 5002]) == 5002)
    }

    @Test("stays slow if there is a probe each second, in one block or in two")
    func probes() {
        #expect(Self.talks((1...100).map { 1000 * $0 }) == nil)
        #expect(Self.talks((1...100).flatMap { [1000 * $0, 1000 * $0 + 170] }) == nil)
    }

    @Test("becomes slow again and again, as long as 60 blocks at most come in 30 s")
    func silence() {
        for (blockCount, expected) in [(0, RingPace.slow), (60, .slow), (61, nil)] {
            var meter = TalkMeter(now: Self.begin)
            for window in 1...3 {
                for _ in 0..<blockCount {
                    let pace = meter.recordBlock(
                        now: Self.begin + .seconds(30 * window) - .seconds(10))
                    // Many blocks at once are a talk.
                    #expect(pace == nil || window > 1)
                }
                #expect(meter.look(now: Self.begin + .seconds(30 * window)) == expected)
                #expect(meter.look(now: Self.begin + .seconds(30 * window + 29)) == nil)
            }
        }
    }

    @Test("says once that the ring is to be quick")
    func once() {
        var meter = Self.silent()
        let paces = (1...10).map { meter.recordBlock(now: Self.begin + .milliseconds(100 * $0)) }
        #expect(paces.compactMap { $0 } == [.quick])
    }
}
