import Forwarding
import Testing

@Suite("The load of threads")
struct ThreadLoadTests {
    private static let millisecond: UInt64 = 1_000_000
    private static let begin: UInt64 = 5_000_000_000

    /// When threads that have run for so long are looked at, and how busy they are then: since the look
    /// before that was not too early.
    private static let looks: [(milliseconds: UInt64, busyMilliseconds: UInt64, percent: Int?)] = [
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

    @Test("is what they have run since the last look that was not too early")
    func looks() {
        var load = ThreadLoad()
        for look in Self.looks {
            let percent = load.percent(
                over: 100 * Self.millisecond,
                now: Self.begin + look.milliseconds * Self.millisecond,
                busyNanoseconds: look.busyMilliseconds * Self.millisecond)
            #expect(percent == look.percent, "\(look)")
        }
    }
}
