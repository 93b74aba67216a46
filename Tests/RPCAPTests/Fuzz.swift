import Glibc
import Testing

/// How long tests with random input go on: a few rounds, or the seconds that FUZZ_SECONDS says.
enum Fuzz {
    static let seeds: ClosedRange<UInt64> = 1...(seconds == nil ? 100 : 4)

    private static let seconds: Double? = unsafe getenv("FUZZ_SECONDS").flatMap {
        unsafe Double(String(cString: $0))
    }

    /// Calls `body` with a seed, once, or with one after the other until the time is over. What
    /// fails is said with its seed; where the program traps, the same run traps again.
    static func rounds(from seed: UInt64, _ body: (UInt64) throws -> Void) {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds ?? 0)
        var seed = seed
        repeat {
            do {
                try body(seed)
            } catch {
                Issue.record("seed \(seed): \(error)")
                return
            }
            seed = seed &+ UInt64(seeds.count)
        } while clock.now < end
    }
}
