import Forwarding
import PacketRing
import Testing
import Time

@Suite("The memory of a capture's rings")
struct RingBudgetTests {
    private static let mebibyte = 1 << 20
    private static let begin = MonotonicTime(nanoseconds: 1_000_000_000)
    private static let smallest = RingBudget.smallest.byteCount

    @Test("gives the first edges 4 MiB, later ones 1 MiB, and the last ones the smallest ring")
    func first() {
        var budget = RingBudget(byteCountMax: 256 * Self.mebibyte)
        var byteCounts: [Int] = []
        while let shape = budget.takeFirst(now: Self.begin) { byteCounts.append(shape.byteCount) }
        // An eighth of the memory, less the smallest ring that is set aside; then up to half of it.
        let (large, middle) = (7, 99)
        #expect(byteCounts.prefix(large).allSatisfy { $0 == 4 * Self.mebibyte })
        #expect(byteCounts.dropFirst(large).prefix(middle).allSatisfy { $0 == Self.mebibyte })
        let small = byteCounts.dropFirst(large + middle)
        #expect(small.allSatisfy { $0 == Self.smallest } && small.count > 400)
        #expect(budget.usedByteCount == Self.smallest + byteCounts.reduce(0, +))
        #expect(budget.usedByteCount <= budget.byteCountMax)
        #expect(budget.takeSmallest() == nil)
    }

    @Test("lets a ring grow sixteenfold, up to a quarter of the memory and 64 MiB")
    func growth() {
        let tables: [(given: Int, from: Int, failureCount: Int, to: Int?)] = [
            (256, 1, 0, 16), (256, 1, 1, 32), (256, 4, 0, 64), (256, 1, 6, 64), (256, 64, 0, nil),
            (32, 1, 0, 8), (32, 8, 0, nil), (1024, 16, 0, 64), (2, 1, 0, nil),
        ]
        for row in tables {
            var budget = RingBudget(byteCountMax: row.given * Self.mebibyte)
            let shape = budget.takeLarger(
                than: row.from * Self.mebibyte, failureCount: row.failureCount)
            #expect(shape?.byteCount == row.to.map { $0 * Self.mebibyte }, "\(row)")
            #expect(budget.canGrow(row.from * Self.mebibyte) == (row.to != nil), "\(row)")
        }
    }

    @Test("leaves room to replace an idle ring by the smallest")
    func growthLeavesRoom() {
        var budget = RingBudget(byteCountMax: 16 * Self.mebibyte)
        while budget.takeLarger(than: Self.smallest) != nil {}
        #expect(budget.takeSmallest() != nil)
    }

    @Test("gives edges with larger packets larger blocks, and as many of them")
    func blocks() {
        let tables: [(frame: Int, block: Int)] = [
            (65_536, 128), (130_000, 128), (131_072, 256), (185_000, 256), (196_608, 256),
            (262_144, 512), (524_280, 1024), (10_000_000, 1024),
        ]
        for row in tables {
            var budget = RingBudget(byteCountMax: 256 * Self.mebibyte)
            let shape = budget.takeFirst(holding: row.frame, now: Self.begin)
            #expect(shape?.blockByteCount == UInt32(row.block << 10), "\(row)")
            // An eighth of the memory is not enough for 32 of the largest.
            #expect(shape?.blockCount == (row.block < 1024 ? 32 : 8), "\(row)")
            #expect(shape?.holds(frameOf: row.frame) == true)
            let larger = budget.takeLarger(than: Self.mebibyte, holding: row.frame)
            #expect(larger?.blockByteCount == UInt32(max(512, row.block) << 10))
            #expect(larger?.byteCount == 16 * Self.mebibyte)
            let least = budget.takeSmallest(holding: row.frame)
            #expect(least?.blockCount == 2 && least?.blockByteCount == shape?.blockByteCount)
            #expect(budget.usedByteCount <= budget.byteCountMax)
        }
    }

    @Test("gives large rings larger blocks, unless they are at the other end of a pair")
    func largeRings() {
        let tables: [(from: Int, block: Int, count: Int)] = [
            (256 << 10, 128, 32), (512 << 10, 128, 64), (1 << 20, 512, 32), (4 << 20, 512, 128),
        ]
        for row in tables {
            var budget = RingBudget(byteCountMax: 256 * Self.mebibyte)
            let shape = budget.takeLarger(than: row.from)
            #expect(shape?.blockByteCount == UInt32(row.block << 10), "\(row)")
            #expect(shape?.blockCount == UInt32(row.count), "\(row)")
        }
        var budget = RingBudget(byteCountMax: 256 * Self.mebibyte)
        let other = budget.takeForOtherEnd(holding: 0, insteadOf: 32 * Self.mebibyte)
        #expect(other?.blockCount == 256)
    }

    @Test("gives small blocks where there is no memory for larger ones")
    func blocksWithoutMemory() {
        var budget = RingBudget(byteCountMax: 2 * Self.mebibyte)
        let first = budget.takeFirst(holding: 524_280, now: Self.begin)
        #expect(first == RingBudget.smallest && first?.holds(frameOf: 524_280) == false)
        #expect(budget.takeHolding(524_280, insteadOf: Self.smallest) == nil)
        let other = budget.takeHolding(185_000, insteadOf: Self.smallest)
        #expect(other == RingBudget.smallest(holding: 185_000))
        #expect(budget.takeSmallest(holding: 524_280) == nil)
    }

    @Test("gives a ring with larger blocks no less memory, unless there is less")
    func enlarged() {
        let tables: [(given: Int, from: Int, to: Int?)] = [
            // As an edge's first ring; as large as the present one; the smallest.
            (256, 4, 8), (256, 64, 64), (64, 1, 8), (72, 64, 2), (67, 64, 2), (65, 64, nil),
        ]
        for row in tables {
            var budget = RingBudget(byteCountMax: row.given * Self.mebibyte)
            // The present ring keeps its memory meanwhile.
            if row.from == 64 {
                while budget.usedByteCount < 64 * Self.mebibyte { _ = budget.takeSmallest() }
            }
            let shape = budget.takeHolding(524_280, insteadOf: row.from * Self.mebibyte)
            #expect(shape?.byteCount == row.to.map { $0 * Self.mebibyte }, "\(row)")
            #expect(shape?.holds(frameOf: 524_280) ?? true)
        }
    }

    @Test("gives nothing for a minute when the kernel has no more memory")
    func exhausted() {
        var budget = RingBudget(byteCountMax: 256 * Self.mebibyte)
        let isFirstGiven = budget.takeFirst(now: Self.begin) != nil
        #expect(isFirstGiven)
        budget.markExhausted(now: Self.begin)
        #expect(budget.isKernelExhausted)
        #expect(budget.takeFirst(now: Self.begin + .seconds(59)) == nil)
        // What is given back can be taken again.
        budget.giveBack(4 * Self.mebibyte)
        #expect(budget.takeFirst(now: Self.begin + .seconds(59))?.byteCount == Self.mebibyte)
        #expect(
            budget.takeFirst(now: Self.begin + .seconds(60))?.byteCount == 4 * Self.mebibyte)
        #expect(!budget.isKernelExhausted)
    }

    @Test("draws on one memory with the budgets of other captures, and gives all back at its end")
    func shared() {
        let memory = RingMemory(byteCountMax: 8 * Self.mebibyte)
        do {
            var budget = RingBudget(memory)
            #expect(budget.takeFirst(now: Self.begin)?.byteCount == Self.mebibyte)
            do {
                var other = RingBudget(memory)
                while other.takeSmallest() != nil {}
                // Nothing is left to either of them, but each has what is set aside.
                #expect(memory.usedByteCount == memory.byteCountMax)
                #expect(budget.takeSmallest() == nil && !budget.isKernelExhausted)
                #expect(budget.byteCount == Self.mebibyte + Self.smallest)
                #expect(other.byteCount == memory.usedByteCount - budget.byteCount)
                // A third one begins with the smallest ring all the same.
                let third = RingBudget(memory)
                #expect(memory.usedByteCount == memory.byteCountMax + third.byteCount)
            }
            #expect(memory.usedByteCount == budget.byteCount)
            #expect(budget.takeFirst(now: Self.begin)?.byteCount == Self.mebibyte)
            // A kernel without memory concerns every capture.
            budget.markExhausted(now: Self.begin)
            var fourth = RingBudget(memory)
            #expect(fourth.isKernelExhausted && fourth.takeFirst(now: Self.begin) == nil)
        }
        #expect(memory.usedByteCount == 0)
    }
}

extension RingBudget {
    /// The budget of a node's only capture.
    init(byteCountMax: Int, hasPodTaps: Bool = false) {
        self.init(RingMemory(byteCountMax: byteCountMax), hasPodTaps: hasPodTaps)
    }
}
