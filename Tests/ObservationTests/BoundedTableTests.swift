import Observation
import Testing

@Suite("A bounded table")
struct BoundedTableTests {
    @Test("forgets an entry one to two ages after its last use")
    func age() {
        var table = BoundedTable<Int, String>(countMax: 8, ageNanoseconds: 100)
        table.set("one", for: 1, now: 1000)
        table.set("two", for: 2, now: 1000)
        for now in stride(from: 1050 as UInt64, through: 1500, by: 50) {
            let value = table.touch(1, now: now)
            #expect(value == "one")
        }
        #expect(table.value(for: 2, now: 1500) == nil)
        #expect(table.value(for: 1, now: 1550) == "one")
        #expect(table.value(for: 1, now: 1800) == nil)
        #expect(table.evictedCount == 0)
    }

    @Test("only reads a value without keeping it")
    func read() {
        var table = BoundedTable<Int, String>(countMax: 8, ageNanoseconds: 100)
        table.set("one", for: 1, now: 1000)
        for now in 1000..<1100 as Range<UInt64> { #expect(table.value(for: 1, now: now) == "one") }
        #expect(table.value(for: 1, now: 1300) == nil)
    }

    @Test("evicts the older half when it is full, and counts that")
    func bound() {
        var table = BoundedTable<Int, Int>(countMax: 8, ageNanoseconds: 100)
        for key in 0..<100 {
            table.set(key, for: key, now: 1)
            #expect(table.count <= 8)
        }
        #expect(table.value(for: 99, now: 1) == 99 && table.value(for: 0, now: 1) == nil)
        #expect(table.evictedCount == 100 - UInt64(table.count))
    }
}
