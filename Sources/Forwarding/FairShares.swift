/// The share of each edge in a send queue that is nearly full.
///
/// The bytes that the sensor takes are divided among the edges that use the queue. What an edge is
/// given and does not use is its credit, up to a bound; what it uses is taken from that. The edge
/// with the most credit is next, so edges that want more than their share come to have the same, and
/// one that wants less always has credit. A block cannot be cut, so credit may be below 0.
package struct FairShares {
    /// The credits of edges that have less than the most.
    private var credits: [UInt64: Int] = [:]
    /// The most credit of an edge, which it has at first.
    private let creditMax: Int
    /// What could not be divided.
    private var remainder = 0
    private var lastKey: UInt64 = 0

    /// Creates shares of edges that have all the same credit.
    package init(creditMax: Int) { self.creditMax = creditMax }

    /// Divides bytes that have left the queue among the edges with less than the most credit.
    package mutating func give(_ byteCount: Int) {
        remainder += byteCount
        // Each round divides all, or some edge has the most afterwards.
        while !credits.isEmpty, remainder >= credits.count {
            let each = remainder / credits.count
            remainder -= each * credits.count
            // The table is changed in place: turns under pressure allocate nothing.
            // A loop over its indices would hold the table, and the first change copy it.
            var index = credits.values.startIndex
            while index < credits.values.endIndex {
                let credit = credits.values[index] + each
                remainder += max(credit - creditMax, 0)
                credits.values[index] = min(credit, creditMax)
                credits.values.formIndex(after: &index)
            }
            while let full = credits.firstIndex(where: { $0.value == creditMax }) {
                credits.remove(at: full)
            }
        }
        // Nobody can have it, so nobody is given it later.
        if credits.isEmpty { remainder = 0 }
    }

    /// Takes bytes that an edge has put into the queue from its credit.
    package mutating func take(_ byteCount: Int, from key: UInt64) {
        lastKey = key
        if byteCount > 0 { credits[key] = credit(of: key) - byteCount }
    }

    /// The bytes that an edge may put into the queue; below 0 if it has had more than its share.
    package func credit(of key: UInt64) -> Int { credits[key] ?? creditMax }

    /// The position of the edge whose turn is next: of those with the most credit, in rotation.
    package func next(among keys: [UInt64]) -> Int? {
        keys.indices.max { rank(of: keys[$0]) < rank(of: keys[$1]) }
    }

    private func rank(of key: UInt64) -> (credit: Int, turn: UInt64) {
        (credit(of: key), .max - (key &- lastKey &- 1))
    }
}
