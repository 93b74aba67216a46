package import Time

/// A rate limiter that leaves out whole packets to keep a feed below a number of bytes a second.
///
/// The loss is spread over all packets: each is kept with the same probability, the limit's share of
/// what has been offered lately. The probability counts packets and not bytes, so large packets lose
/// no more of their number than small ones. A token bucket of a tenth of a second holds the limit
/// where the estimate is wrong, and lets short bursts pass whole.
///
/// It is told the time once per block, and is deterministic.
package struct RateLimiter: Sendable {
    private let bytesPerSecond: Double
    private let depth: Double
    /// The bytes that may still be kept now.
    ///
    /// It may fall below zero by the rest of one packet, so that a packet longer than the bucket is
    /// deep gets its turn, and is paid for afterwards.
    private var credit: Double
    private var refilledAt: MonotonicTime?
    private var windowBeganAt = MonotonicTime.zero
    /// The bytes that have been offered in this window.
    private var offered: Double = 0
    /// The estimate of bytes offered a second.
    private var estimate: Double = 0
    /// The part of the packets that is kept, 1 for all.
    private var share: Double = 1
    private var spread = Spread()

    /// The time over which the offered rate is measured.
    ///
    /// After two windows, 50 ms, one has seen nothing from before a change; if it was below the
    /// limit, nothing is left out any more.
    private static let windowSeconds = 0.025
    private static let depthSeconds = 0.1

    /// A limiter that has kept nothing yet.
    package init(bytesPerSecond: Int) {
        precondition(bytesPerSecond > 0)
        self.bytesPerSecond = Double(bytesPerSecond)
        depth = self.bytesPerSecond * Self.depthSeconds
        credit = depth
    }

    /// Refills the bucket for the time that has passed; a clock that stands still adds nothing.
    package mutating func refill(now: MonotonicTime) {
        guard let refilledAt else {
            (self.refilledAt, windowBeganAt) = (now, now)
            return
        }
        guard now > refilledAt else { return }
        credit = min(depth, credit + bytesPerSecond * Self.seconds(from: refilledAt, to: now))
        self.refilledAt = now
        let window = Self.seconds(from: windowBeganAt, to: now)
        if window >= Self.windowSeconds {
            update(rate: offered / window)
            (windowBeganAt, offered) = (now, 0)
        }
        share = estimate > bytesPerSecond ? min(1, wantedRate / estimate) : 1
    }

    /// Decides whether to keep a packet, and takes its bytes from the bucket if so.
    ///
    /// - Parameter byteCount: The packet's length in the feed, with its header.
    /// - Returns: Whether to keep the packet.
    package mutating func admit(byteCount: Int) -> Bool {
        let byteCount = Double(byteCount)
        offered += byteCount
        guard share >= 1 || spread.take(share), credit > 0 else { return false }
        credit -= byteCount
        return true
    }

    /// Smooths a rate above the limit; one below it counts at once, and everything passes.
    private mutating func update(rate: Double) {
        let isOver = min(rate, estimate) > bytesPerSecond
        estimate = isOver ? (estimate + rate) / 2 : rate
    }

    /// The rate aimed at: above the limit while the bucket is more than half full, below it otherwise.
    ///
    /// That keeps the bucket half full, whatever the error of the estimate.
    private var wantedRate: Double {
        bytesPerSecond * (0.5 + max(0, credit / depth))
    }

    private static func seconds(from begin: MonotonicTime, to end: MonotonicTime) -> Double {
        Double(end.nanoseconds - begin.nanoseconds) / 1_000_000_000
    }
}

/// A selection of a share of the packets, as even as can be without a pattern.
///
/// Plain error diffusion would take every second packet at one half. Where large and small packets
/// alternate, or requests and replies, it would take one kind alone. So each stretch in which one
/// packet is due has its own random position in it.
private struct Spread {
    /// The share that is left until the next packet is due.
    private var rest: Double
    /// The position of the due packet in its stretch, from 0 to 1.
    private var position: Double
    private var random: UInt64 = 0x9e37_79b9_7f4a_7c15

    init() {
        position = 0.5
        rest = position
    }

    mutating func take(_ share: Double) -> Bool {
        rest -= share
        guard rest <= 0 else { return false }
        let next = nextRandom()
        rest += 1 - position + next
        position = next
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
