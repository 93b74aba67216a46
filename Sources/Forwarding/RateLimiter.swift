/// Leaves out whole packets so that a feed stays below so many bytes a second.
///
/// What is over the limit is spread over all packets as they come: each is kept with the same
/// probability, which is the limit's share of what has been offered lately. Packets count here and not
/// their bytes, so large ones lose no more of their number than small ones. A bucket of a tenth of a
/// second holds the limit where the estimate is wrong, and lets short bursts pass whole.
///
/// It is told the time once per block, and the same calls have the same answers.
package struct RateLimiter: Sendable {
    private let bytesPerSecond: Double
    private let depth: Double
    /// What may still be kept now. It falls below zero by the rest of one packet, so that one longer
    /// than the bucket is deep gets its turn, and is paid for afterwards.
    private var credit: Double
    private var refilledAt: UInt64?
    private var windowBeganAt: UInt64 = 0
    /// What has been offered in this window.
    private var offered: Double = 0
    /// Bytes a second that are offered.
    private var estimate: Double = 0
    /// Which part of the packets is kept, 1 for all.
    private var share: Double = 1
    private var spread = Spread()

    /// Two windows are 50 ms: by then one is over that has seen nothing from before, and if that was
    /// below the limit nothing is left out any more.
    private static let windowNanoseconds: UInt64 = 25_000_000
    private static let depthSeconds = 0.1

    package init(bytesPerSecond: Int) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = Double(bytesPerSecond)
        depth = self.bytesPerSecond * Self.depthSeconds
        credit = depth
    }

    /// Takes in the time, of a clock that does not go back. Where it stands still nothing is added.
    package mutating func refill(now: UInt64) {
        guard let refilledAt else {
            (self.refilledAt, windowBeganAt) = (now, now)
            return
        }
        guard now > refilledAt else { return }
        credit = min(depth, credit + bytesPerSecond * Self.seconds(now - refilledAt))
        self.refilledAt = now
        let window = now - windowBeganAt
        if window >= Self.windowNanoseconds {
            note(offered / Self.seconds(window))
            (windowBeganAt, offered) = (now, 0)
        }
        share = estimate > bytesPerSecond ? min(1, wantedRate / estimate) : 1
    }

    /// Whether to keep a packet that takes so many bytes of the feed, its header among them.
    package mutating func keeps(byteCount: Int) -> Bool {
        let byteCount = Double(byteCount)
        offered += byteCount
        guard share >= 1 || spread.takes(share), credit > 0 else { return false }
        credit -= byteCount
        return true
    }

    /// A rate above the limit is smoothed; one below it counts at once, and everything passes.
    private mutating func note(_ rate: Double) {
        let isOver = min(rate, estimate) > bytesPerSecond
        estimate = isOver ? (estimate + rate) / 2 : rate
    }

    /// The limit; more while the bucket is more than half full, and less while it is less. So there is
    /// something in reserve and room for more, whatever the estimate's error.
    private var wantedRate: Double {
        bytesPerSecond * (0.5 + max(0, credit / depth))
    }

    private static func seconds(_ nanoseconds: UInt64) -> Double {
        Double(nanoseconds) / 1_000_000_000
    }
}

/// Takes a share of what comes, as evenly as can be without a pattern.
///
/// Plain error diffusion would take every second one at one half; where large and small packets
/// alternate, or requests and replies, it would take one kind alone. So each stretch in which one is
/// due has its own place in it, by chance.
private struct Spread {
    /// How much is left until the next one is due.
    private var rest: Double
    /// Where in its stretch that is, from 0 to 1.
    private var place: Double
    private var random: UInt64 = 0x9e37_79b9_7f4a_7c15

    init() {
        place = 0.5
        rest = place
    }

    mutating func takes(_ share: Double) -> Bool {
        rest -= share
        guard rest <= 0 else { return false }
        let next = nextRandom()
        rest += 1 - place + next
        place = next
        return true
    }

    /// The next of a fixed sequence (xorshift64, Marsaglia 2003).
    private mutating func nextRandom() -> Double {
        random ^= random << 13
        random ^= random >> 7
        random ^= random << 17
        return Double(random >> 11) / Double(1 << 53)
    }
}
