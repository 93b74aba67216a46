package import Time

/// The times at which pods' names are searched for.
///
/// A runtime writes its file when all plug-ins are done with the pod, so some time after the edge and
/// the pod's addresses exist.
package struct PodNameSchedule: Sendable {
    private var entries: [UInt64: Entry] = [:]

    private struct Entry: Sendable {
        let query: PodNameQuery
        /// When the query first came with what it contains.
        let begin: MonotonicTime
        var tryCount = 0

        var dueAt: MonotonicTime? { tryCount < delays.count ? begin + delays[tryCount] : nil }
    }

    /// The delays before each try.
    ///
    /// A pod that has no file by then will have none, or what is known of it is wrong. The next try
    /// is when that changes.
    private static let delays: [Duration] = [
        .zero, .milliseconds(100), .milliseconds(300), .seconds(1), .seconds(3), .seconds(10),
        .seconds(30),
    ]

    /// A schedule without queries.
    package init() {}

    /// Takes the queries that are open now.
    ///
    /// Known ones that are missing are dropped. Those that have changed count as new.
    package mutating func follow(_ queries: [PodNameQuery], now: MonotonicTime) {
        var next: [UInt64: Entry] = [:]
        for query in queries {
            let known = entries[query.incarnation].flatMap { $0.query == query ? $0 : nil }
            next[query.incarnation] = known ?? Entry(query: query, begin: now)
        }
        entries = next
    }

    /// When the next search is due; nil for never.
    package var dueAt: MonotonicTime? { entries.values.compactMap(\.dueAt).min() }

    /// Takes the queries that are due.
    package mutating func takeDue(now: MonotonicTime) -> [PodNameQuery] {
        var due: [PodNameQuery] = []
        for (incarnation, entry) in entries {
            guard let dueAt = entry.dueAt, dueAt <= now else { continue }
            due.append(entry.query)
            entries[incarnation]?.tryCount += 1
        }
        return due.sorted { $0.incarnation < $1.incarnation }
    }
}
