import Forwarding
import Testing
import Time

@Suite("A rate limiter")
struct RateLimiterTests {
    /// What was offered and kept of packets of one size.
    struct Count {
        var offered = 0
        var kept = 0
        var keptShare: Double { Double(kept) / Double(offered) }
    }

    /// Offers packets of these sizes in turn, in blocks, at a rate, for a time.
    struct Offer {
        var limiter: RateLimiter
        var now = MonotonicTime(nanoseconds: 1_000_000_000)
        var counts: [Int: Count] = [:]
        /// When packets were left out.
        var lostAt: [MonotonicTime] = []
        private var next = 0
        private var rest = 0.0

        init(limit: Int) {
            limiter = RateLimiter(bytesPerSecond: limit)
            limiter.refill(now: now)
        }

        var keptByteCount: Int { counts.reduce(0) { $0 + $1.key * $1.value.kept } }

        mutating func run(
            _ sizes: [Int], bytesPerSecond: Double, seconds: Double,
            blockMilliseconds: Double = 1
        ) {
            for _ in 0..<Int(seconds * 1000 / blockMilliseconds) {
                now += .nanoseconds(Int64(blockMilliseconds * 1_000_000))
                limiter.refill(now: now)
                rest += bytesPerSecond * blockMilliseconds / 1000
                while rest > 0 {
                    offer(sizes[next % sizes.count])
                    rest -= Double(sizes[next % sizes.count])
                    next += 1
                }
            }
        }

        mutating func offer(_ size: Int) {
            let isKept = limiter.admit(byteCount: size)
            counts[size, default: Count()].offered += 1
            counts[size]!.kept += isKept ? 1 : 0
            if !isKept { lostAt.append(now) }
        }
    }

    static let mixes: [[Int]] = [
        [1542], [94, 1542], [1542, 94, 94], [94, 94, 94, 94, 94, 94, 94, 94, 94, 9_000],
        [94, 65_563], [94, 700, 1542, 94],
    ]

    /// What lets 4,000 packets of these sizes pass in a second.
    static func limit(_ sizes: [Int]) -> Int { 4_000 * sizes.reduce(0, +) / sizes.count }

    @Test(
        "keeps what the limit allows and no more, whatever is offered",
        arguments: mixes, [1.05, 1.5, 3, 20])
    func overload(sizes: [Int], overload: Double) {
        let limit = Self.limit(sizes)
        for blockMilliseconds in [0.25, 1, 16, 40] {
            var offer = Offer(limit: limit)
            offer.run(
                sizes, bytesPerSecond: overload * Double(limit), seconds: 4,
                blockMilliseconds: blockMilliseconds)
            let most = Double(limit) * 4.1 + Double(sizes.max()!)
            #expect(Double(offer.keptByteCount) <= most, "\(blockMilliseconds)")
            #expect(Double(offer.keptByteCount) >= 0.98 * Double(limit) * 4, "\(blockMilliseconds)")
        }
    }

    @Test("takes the same share of packets of each size", arguments: mixes, [1.2, 2, 3, 8])
    func fairness(sizes: [Int], overload: Double) {
        let limit = Self.limit(sizes)
        for blockMilliseconds in [1.0, 16] {
            var offer = Offer(limit: limit)
            offer.run(
                sizes, bytesPerSecond: overload * Double(limit), seconds: 5,
                blockMilliseconds: blockMilliseconds)
            let shares = offer.counts.values.map(\.keptShare)
            #expect(
                shares.max()! - shares.min()! < 0.06 * shares.max()!,
                "\(blockMilliseconds): \(offer.counts)")
        }
    }

    @Test("spreads what it keeps over every hundredth of a second", arguments: [1.5, 3, 10])
    func evenness(overload: Double) {
        let limit = 20_000_000
        var offer = Offer(limit: limit)
        offer.run([94, 1542], bytesPerSecond: overload * Double(limit), seconds: 1)
        for slot in 0..<100 {
            let before = offer.keptByteCount
            offer.run([94, 1542], bytesPerSecond: overload * Double(limit), seconds: 0.01)
            let ratio = Double(offer.keptByteCount - before) / (0.01 * Double(limit))
            #expect(ratio > 0.75 && ratio < 1.25, "\(slot)")
        }
    }

    @Test(
        "leaves nothing out below the limit",
        arguments: [0.1, 0.5, 0.9, 0.99], [0.25, 1, 16, 40])
    func below(load: Double, blockMilliseconds: Double) {
        var offer = Offer(limit: 10_000_000)
        offer.run(
            [94, 1542], bytesPerSecond: load * 10_000_000, seconds: 5,
            blockMilliseconds: blockMilliseconds)
        #expect(offer.lostAt.isEmpty)
    }

    @Test(
        "leaves nothing out any more 50 ms after the rate has fallen below the limit",
        arguments: [1.2, 2, 10, 30], [0.2, 0.9])
    func recovery(overload: Double, load: Double) throws {
        for overloadMilliseconds in stride(from: 300, to: 350, by: 3) {
            var offer = Offer(limit: 4_000_000)
            offer.run(
                [94, 1542], bytesPerSecond: overload * 4_000_000,
                seconds: Double(overloadMilliseconds) / 1000)
            let fallenAt = offer.now
            offer.run([94, 1542], bytesPerSecond: load * 4_000_000, seconds: 0.5)
            let lastLostAt = try #require(offer.lostAt.last)
            #expect(lastLostAt <= fallenAt + .milliseconds(50))
        }
    }

    @Test("lets a burst pass whole that fits into the bucket")
    func burst() {
        var offer = Offer(limit: 10_000_000)
        for _ in 0..<20 {
            offer.now += .milliseconds(200)
            offer.limiter.refill(now: offer.now)
            // 950 kB of the million that a tenth of a second holds, in one block.
            for _ in 0..<950 { offer.offer(1000) }
        }
        #expect(offer.lostAt.isEmpty)
        // The same in ten blocks within 5 ms.
        for _ in 0..<20 {
            offer.now += .milliseconds(200)
            for _ in 0..<10 {
                offer.now += .microseconds(500)
                offer.limiter.refill(now: offer.now)
                for _ in 0..<95 { offer.offer(1000) }
            }
        }
        #expect(offer.lostAt.isEmpty)
    }

    @Test("uses most of the limit where the load comes and goes", arguments: [20.0, 50, 75])
    func onAndOff(milliseconds: Double) {
        let limit = 4_000_000.0
        var offer = Offer(limit: Int(limit))
        for _ in 0..<100 {
            offer.run([94, 1542], bytesPerSecond: 6 * limit, seconds: milliseconds / 1000)
            offer.run([94], bytesPerSecond: 0, seconds: milliseconds / 1000)
        }
        let ratio = Double(offer.keptByteCount) / (limit * 200 * milliseconds / 1000)
        #expect(ratio > 0.85 && ratio < 1.05)
    }

    @Test("lets a packet pass that is longer than the bucket is deep", arguments: [1, 100, 10_000])
    func tiny(limit: Int) {
        var offer = Offer(limit: limit)
        let seconds = 200_000.0 / Double(limit)
        offer.run(
            [262_172], bytesPerSecond: 262_172 / seconds * 4_000, seconds: seconds * 10,
            blockMilliseconds: seconds)
        // A packet is paid for in 1.3 times as long.
        #expect(offer.counts[262_172]!.kept >= 7 && offer.counts[262_172]!.kept <= 9)
    }

    @Test("adds nothing while the clock stands still, or goes back")
    func clock() {
        for step in [0, -1_000_000] {
            var limiter = RateLimiter(bytesPerSecond: 1_000_000)
            var keptByteCount = 0
            for index in 0..<1000 {
                limiter.refill(
                    now: MonotonicTime(nanoseconds: UInt64(5_000_000_000 + index * step)))
                for _ in 0..<10 where limiter.admit(byteCount: 1000) { keptByteCount += 1000 }
            }
            #expect(keptByteCount == 100_000)
        }
    }

    @Test("takes any numbers")
    func extremes() {
        for limit in [1, 1 << 20, 1 << 40, .max] {
            var limiter = RateLimiter(bytesPerSecond: limit)
            for now in [0, 1, 1 << 40, .max - 1, .max, 0, .max] as [UInt64] {
                limiter.refill(now: MonotonicTime(nanoseconds: now))
                for byteCount in [0, 1, 1500, .max, .max, 28] {
                    _ = limiter.admit(byteCount: byteCount)
                }
            }
        }
        // The greatest limit lets everything pass.
        var offer = Offer(limit: 1 << 40)
        offer.run([94, 65_563], bytesPerSecond: 2e9, seconds: 0.1)
        #expect(offer.lostAt.isEmpty)
    }

    @Test("answers the same each time")
    func determinism() {
        var offers = [Offer(limit: 5_000_000), Offer(limit: 5_000_000)]
        for index in offers.indices {
            offers[index].run([94, 1542], bytesPerSecond: 20_000_000, seconds: 1)
        }
        #expect(offers[0].lostAt == offers[1].lostAt && !offers[0].lostAt.isEmpty)
    }
}
