import Observation
import Testing
import Time

@Suite("A bounded table")
struct BoundedTableTests {
    private static let begin = MonotonicTime(nanoseconds: 1000)

    @Test("forgets an entry one to two ages after its last use")
    func age() {
        var table = BoundedTable<Int, String>(countMax: 8, age: .nanoseconds(100))
        table.set("one", for: 1, now: Self.begin)
        table.set("two", for: 2, now: Self.begin)
        for elapsed in stride(from: 50, through: 500, by: 50) {
            let value = table.touch(1, now: Self.begin + .nanoseconds(elapsed))
            #expect(value == "one")
        }
        #expect(table.value(for: 2, now: Self.begin + .nanoseconds(500)) == nil)
        #expect(table.value(for: 1, now: Self.begin + .nanoseconds(550)) == "one")
        #expect(table.value(for: 1, now: Self.begin + .nanoseconds(800)) == nil)
        #expect(table.evictedCount == 0)
    }

    @Test("only reads a value without keeping it")
    func read() {
        var table = BoundedTable<Int, String>(countMax: 8, age: .nanoseconds(100))
        table.set("one", for: 1, now: Self.begin)
        for elapsed in 0..<100 {
            #expect(table.value(for: 1, now: Self.begin + .nanoseconds(elapsed)) == "one")
        }
        #expect(table.value(for: 1, now: Self.begin + .nanoseconds(300)) == nil)
    }

    @Test("evicts the older half when it is full, and counts that")
    func bound() {
        var table = BoundedTable<Int, Int>(countMax: 8, age: .nanoseconds(100))
        for key in 0..<100 {
            table.set(key, for: key, now: Self.begin)
            #expect(table.count <= 8)
        }
        #expect(
            table.value(for: 99, now: Self.begin) == 99
                && table.value(for: 0, now: Self.begin) == nil)
        #expect(table.evictedCount == 100 - UInt64(table.count))
    }
}
