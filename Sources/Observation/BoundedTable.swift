package import Time

/// A table of bounded size that forgets entries which have not been used for a while.
///
/// Entries live in two generations. New and touched entries are in the young one. When that is full
/// or old enough it becomes the old generation, and the old generation before it is dropped. So an
/// entry lives for one to two ages after its last use, and eviction never searches.
package struct BoundedTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var young: [Key: Value] = [:]
    private var old: [Key: Value] = [:]
    private var turnedAt = MonotonicTime.zero
    private let countMax: Int
    private let age: Duration
    /// The age at which the young generation has expired as well.
    private let ageMax: Duration
    /// The number of entries that were evicted for lack of room, not because of their age.
    package private(set) var evictedCount: UInt64 = 0

    /// Allocates room for all entries, so that no insertion waits for memory.
    package init(countMax: Int, age: Duration) {
        self.countMax = countMax
        self.age = age
        ageMax = age + age
        young.reserveCapacity(countMax / 2)
        old.reserveCapacity(countMax / 2)
    }

    package var count: Int { young.count + old.count }

    /// Returns the value of a key, and marks its entry as used.
    package mutating func touch(_ key: Key, now: MonotonicTime) -> Value? {
        turn(now)
        if let value = young[key] { return value }
        guard let value = old.removeValue(forKey: key) else { return nil }
        insert(value, for: key)
        return value
    }

    /// Returns the value of a key; the entry ages as if nobody had asked.
    package func value(for key: Key, now: MonotonicTime) -> Value? {
        switch youngAge(now) {
        case ageMax...: nil
        case age...: young[key]
        default: young[key] ?? old[key]
        }
    }

    package mutating func set(_ value: Value, for key: Key, now: MonotonicTime) {
        turn(now)
        old.removeValue(forKey: key)
        insert(value, for: key)
    }

    package mutating func remove(_ key: Key) {
        if young.removeValue(forKey: key) == nil { old.removeValue(forKey: key) }
    }

    /// Changes the value of a key that has one, in its place; the entry ages as if nobody had asked.
    package mutating func update(_ key: Key, _ change: (inout Value) -> Void) {
        if let index = young.index(forKey: key) {
            change(&young.values[index])
        } else if let index = old.index(forKey: key) {
            change(&old.values[index])
        }
    }

    /// Returns all entries: for what is made from the whole of a small table.
    package func all(now: MonotonicTime) -> [Key: Value] {
        switch youngAge(now) {
        case ageMax...: [:]
        case age...: young
        default: old.merging(young) { $1 }
        }
    }

    private mutating func insert(_ value: Value, for key: Key) {
        if young.count >= countMax / 2, young[key] == nil {
            evictedCount += UInt64(old.count)
            makeOld()
        }
        young[key] = value
    }

    private mutating func turn(_ now: MonotonicTime) {
        let youngAge = youngAge(now)
        guard youngAge >= age else { return }
        // Nothing was used for twice the age: both generations have expired.
        if youngAge >= ageMax { young.removeAll(keepingCapacity: true) }
        turnedAt = now
        makeOld()
    }

    /// Returns the age of the young generation; negative where the times of a recording go back.
    private func youngAge(_ now: MonotonicTime) -> Duration { now - turnedAt }

    private mutating func makeOld() {
        swap(&young, &old)
        young.removeAll(keepingCapacity: true)
    }
}
