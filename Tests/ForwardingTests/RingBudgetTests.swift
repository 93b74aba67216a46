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
}
