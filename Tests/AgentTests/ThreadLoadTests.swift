import Agent
import Testing

@Suite("The load of a thread")
struct ThreadLoadTests {
    private static let millisecond: UInt64 = 1_000_000
    private static let begin: UInt64 = 5_000_000_000

    /// When a thread that has run for so long is looked at, and whether it is full then: since the look
    /// before that was not too early.
    private static let looks: [(milliseconds: UInt64, busyMilliseconds: UInt64, isFull: Bool)] = [
        (0, 20, false),
        (50, 70, false),
        (100, 120, true),
        (199, 219, false),
        (200, 199, false),
        (300, 279, true),
        (1300, 1078, false),
        (2300, 1878, true),
    ]

    @Test("is looked at every 100 ms, and full at 80 %")
    func looks() {
        var load = ThreadLoad()
        for look in Self.looks {
            let isFull = load.isFull(
                now: Self.begin + look.milliseconds * Self.millisecond,
                busyNanoseconds: look.busyMilliseconds * Self.millisecond)
            #expect(isFull == look.isFull, "\(look)")
        }
    }
}
