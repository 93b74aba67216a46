package import Time

/// The problems of a folder that are worth a line in the log: each kind once while it lasts.
///
/// The number of files and the example change with each pod that comes or goes, which is no news.
package struct NamespaceProblemNews: Sendable {
    private var lasting: Set<NamespaceProblem.Kind> = []
    /// When each kind was news last; there are as many as kinds.
    private var toldAt: [NamespaceProblem.Kind: MonotonicTime] = [:]

    /// The time after which a problem that was over and is back is news again.
    package static let interval = Duration.seconds(300)

    /// News of nothing so far.
    package init() {}

    /// Takes what is wrong now.
    ///
    /// - Returns: The problems to log, at most one of each kind.
    package mutating func take(
        _ problems: [NamespaceProblem], now: MonotonicTime
    ) -> [NamespaceProblem] {
        let known = lasting
        lasting = Set(problems.map(\.kind))
        return problems.filter { problem in
            let isBack = toldAt[problem.kind].map { now < $0 + Self.interval } ?? false
            guard !known.contains(problem.kind), !isBack else { return false }
            toldAt[problem.kind] = now
            return true
        }
    }
}
