/// A table that never grows beyond its bound, and forgets what has not been used for a while.
///
/// Entries live in two generations. What is new or used again is in the young one; when that is full
/// or old enough it becomes the old one, and what nobody has asked for in the meantime is gone. So
/// an entry lives for one to two ages, and nothing is ever searched for victims.
package struct BoundedTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var young: [Key: Value] = [:]
    private var old: [Key: Value] = [:]
    private var turnedAt: UInt64 = 0
    private let countMax: Int
    private let ageNanoseconds: UInt64
    /// How many entries were given up because the table was full, and not because of their age.
    package private(set) var evictedCount: UInt64 = 0

    /// Makes room for all entries at once, so that none is ever waited for.
    package init(countMax: Int, ageNanoseconds: UInt64) {
        self.countMax = countMax
        self.ageNanoseconds = ageNanoseconds
        young.reserveCapacity(countMax / 2)
        old.reserveCapacity(countMax / 2)
    }

    package var count: Int { young.count + old.count }

    /// What is known under a key; asking keeps it.
    package mutating func value(for key: Key, now: UInt64) -> Value? {
        turn(now)
        if let value = young[key] { return value }
        guard let value = old.removeValue(forKey: key) else { return nil }
        insert(value, for: key)
        return value
    }

    /// The same, but asking does not keep it.
    package mutating func peek(_ key: Key, now: UInt64) -> Value? {
        turn(now)
        return young[key] ?? old[key]
    }

    package mutating func set(_ value: Value, for key: Key, now: UInt64) {
        turn(now)
        old.removeValue(forKey: key)
        insert(value, for: key)
    }

    package mutating func remove(_ key: Key) {
        young.removeValue(forKey: key)
        old.removeValue(forKey: key)
    }

    /// All that is known, for what is made from the whole of a small table.
    package func all(now: UInt64) -> [Key: Value] {
        switch age(now) {
        case (2 * ageNanoseconds)...: return [:]
        case ageNanoseconds...: return young
        default: return old.merging(young) { $1 }
        }
    }

    private mutating func insert(_ value: Value, for key: Key) {
        if young.count >= countMax / 2, young[key] == nil {
            evictedCount += UInt64(old.count)
            makeOld()
        }
        young[key] = value
    }

    private mutating func turn(_ now: UInt64) {
        let age = age(now)
        guard age >= ageNanoseconds else { return }
        // Twice the age without a word: both generations are too old.
        if age >= 2 * ageNanoseconds { young.removeAll(keepingCapacity: true) }
        turnedAt = now
        makeOld()
    }

    /// How old the young generation may be. Times in a recording may go back.
    private func age(_ now: UInt64) -> UInt64 { now - min(now, turnedAt) }

    private mutating func makeOld() {
        swap(&young, &old)
        young.removeAll(keepingCapacity: true)
    }
}
