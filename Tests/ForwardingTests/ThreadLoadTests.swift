import Forwarding
import Testing
import Time

@Suite("The load of threads")
struct ThreadLoadTests {
    private static let begin = MonotonicTime(nanoseconds: 5_000_000_000)

    /// Samples: when, how long the threads had run by then, and the result.
    private static let samples: [(milliseconds: Int, busyMilliseconds: Int, percent: Int?)] = [
        (0, 20, nil),
        (50, 70, nil),
        (100, 120, 100),
        (199, 199, nil),
        (200, 199, 79),
        (300, 279, 80),
        (1300, 279, 0),
        (2300, 2079, 180),
        (2400, 2000, 0),
    ]

    @Test("is their CPU use since the last sample that was not too early")
    func samples() {
        var load = ThreadLoad()
        for sample in Self.samples {
            let percent = load.percent(
                over: .milliseconds(100),
                now: Self.begin + .milliseconds(sample.milliseconds),
                busy: .milliseconds(sample.busyMilliseconds))
            #expect(percent == sample.percent, "\(sample)")
        }
    }
}
