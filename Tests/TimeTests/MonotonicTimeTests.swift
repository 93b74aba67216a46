import Testing
import Time

@Suite("A monotonic time")
struct MonotonicTimeTests {
    private let second = MonotonicTime(nanoseconds: 1_000_000_000)

    @Test("moves by durations, in both directions")
    func moves() {
        #expect(second + .milliseconds(5) == MonotonicTime(nanoseconds: 1_005_000_000))
        #expect(second - .milliseconds(5) == MonotonicTime(nanoseconds: 995_000_000))
        #expect(second.advanced(by: .nanoseconds(-1)) == MonotonicTime(nanoseconds: 999_999_999))
        var time = second
        time += .seconds(2)
        #expect(time == MonotonicTime(nanoseconds: 3_000_000_000))
    }

    @Test("is as far from another one as the clock says, before or after it")
    func distance() {
        let later = second + .seconds(30)
        #expect(later - second == .seconds(30))
        #expect(second - later == .seconds(-30))
        #expect(second.duration(to: later) == .seconds(30))
        #expect(second - second == .zero)
        #expect(second < later)
    }

    @Test("stops at its ends instead of overflowing")
    func saturates() {
        #expect(second - .seconds(2) == .zero)
        #expect(MonotonicTime(nanoseconds: .max - 1) + .seconds(1) == .distantFuture)
        #expect(MonotonicTime.distantFuture - .seconds(1) == .distantFuture)
        #expect(second + .seconds(Int64.max) > second + .seconds(1_000_000_000))
        #expect(MonotonicTime.distantFuture - .zero == .nanoseconds(Int64.max))
        #expect(MonotonicTime.zero - .distantFuture == .nanoseconds(-Int64.max))
    }
}

@Suite("A duration")
struct DurationTests {
    @Test(
        "is given in whole nanoseconds",
        arguments: [
            (Duration.zero, 0), (.nanoseconds(1), 1), (.milliseconds(-3), -3_000_000),
            (.seconds(30), 30_000_000_000), (.seconds(Int64.max), .max),
            (.seconds(Int64.min), .min),
        ] as [(Duration, Int64)])
    func nanoseconds(duration: Duration, count: Int64) {
        #expect(duration.clampedNanoseconds == count)
    }

    @Test(
        "is waited for to its end, and not at all when it is over",
        arguments: [
            (Duration.zero, 0), (.seconds(-1), 0), (.nanoseconds(1), 1), (.milliseconds(1), 1),
            (.nanoseconds(1_000_001), 2), (.seconds(2), 2000), (.seconds(Int64.max), .max),
        ] as [(Duration, CInt)])
    func milliseconds(duration: Duration, count: CInt) {
        #expect(duration.waitMilliseconds == count)
    }

    @Test("is made of nanoseconds without a sign")
    func unsigned() {
        #expect(Duration.nanoseconds(clamping: 5) == .nanoseconds(5))
        #expect(Duration.nanoseconds(clamping: .max) == .nanoseconds(Int64.max))
    }
}
