import Glibc
import Testing

/// The rounds of tests with random input.
///
/// There are a few, or as many as fit into the seconds that FUZZ_SECONDS names. Then they begin with a
/// random seed, which is printed; FUZZ_SEED begins with that one again.
package enum Fuzz {
    /// The seeds of the tests that run side by side.
    package static let seeds: ClosedRange<UInt64> = 1...(seconds == nil ? 100 : 4)

    private static let seconds = number("FUZZ_SECONDS").map { Double($0) }

    private static let base: UInt64 = {
        let base = number("FUZZ_SEED") ?? (seconds == nil ? 0 : .random(in: 0...1 << 40))
        let text = Array("fuzz: FUZZ_SEED=\(base)\n".utf8)
        if seconds != nil { _ = unsafe write(STDERR_FILENO, text, text.count) }
        return base
    }()

    /// A fault that was found, in words.
    package struct Complaint: Error, CustomStringConvertible {
        package let description: String

        package init(_ description: String) { self.description = description }
    }

    /// Calls `body` with a seed once, or with many seeds until the time is over.
    ///
    /// A failure is recorded with its seed. If the program traps, the same run traps again.
    package static func rounds(from seed: UInt64, _ body: (UInt64) throws -> Void) {
        let clock = ContinuousClock()
        let end = clock.now + .seconds(seconds ?? 0)
        var seed = base &+ seed
        repeat {
            do {
                try body(seed)
            } catch {
                Issue.record("FUZZ_SEED=\(seed - 1): \(error)")
                return
            }
            seed = seed &+ UInt64(seeds.count)
        } while clock.now < end
    }

    private static func number(_ name: String) -> UInt64? {
        unsafe getenv(name).flatMap { unsafe UInt64(String(cString: $0)) }
    }
}
