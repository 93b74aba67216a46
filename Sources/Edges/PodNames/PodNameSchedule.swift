/// When names of pods are to be looked for. A runtime writes its file when all plug-ins are done with the
/// pod, so some time after the edge and the pod's addresses are there.
package struct PodNameSchedule: Sendable {
    private var entries: [UInt64: Entry] = [:]

    private struct Entry: Sendable {
        var edge: PodNameQuery
        /// When it was first there as it is.
        var begin: UInt64
        var tryCount = 0

        var dueAt: UInt64? {
            tryCount < delaysNanoseconds.count ? begin + delaysNanoseconds[tryCount] : nil
        }
    }

    /// Who has not come by then has no file, or what is known of the pod is wrong; the next try is when
    /// that changes.
    private static let delaysNanoseconds: [UInt64] = [
        0, 100_000_000, 300_000_000, 1_000_000_000, 3_000_000_000, 10_000_000_000, 30_000_000_000,
    ]

    package init() {}

    /// Takes the edges that have no name. Of those that it knows, the ones that are missing are
    /// forgotten, and the ones that have changed are looked for as if they were new.
    package mutating func follow(_ edges: [PodNameQuery], now: UInt64) {
        var next: [UInt64: Entry] = [:]
        for edge in edges {
            let known = entries[edge.incarnation].flatMap { $0.edge == edge ? $0 : nil }
            next[edge.incarnation] = known ?? Entry(edge: edge, begin: now)
        }
        entries = next
    }

    /// When there is something to look for; nil for never.
    package var dueAt: UInt64? { entries.values.compactMap(\.dueAt).min() }

    /// What is to be looked for now.
    package mutating func takeDue(now: UInt64) -> [PodNameQuery] {
        var due: [PodNameQuery] = []
        for (incarnation, entry) in entries {
            guard let dueAt = entry.dueAt, dueAt <= now else { continue }
            due.append(entry.edge)
            entries[incarnation]?.tryCount += 1
        }
        return due.sorted { $0.incarnation < $1.incarnation }
    }
}
