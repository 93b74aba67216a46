import Linux
import Log
import Logging
import Taps
import Time

/// Follows the files of pods' network namespaces for a table of edges.
///
/// A class, since a monitor that other modules have cannot store what they do not know.
final class NamespaceWatch {
    private var folder: NamespaceFolder
    private let logger: Logger
    /// What was wrong at the last look, so that each problem is logged once while it lasts.
    private var problems: Set<NamespaceProblem> = []
    private var readAt = MonotonicTime.zero
    /// When the folder is looked at next.
    private(set) var dueAt = MonotonicTime.zero

    /// The shortest time between two looks, each of which takes 2 ms on a full node.
    private static let intervalMin = Duration.milliseconds(10)

    /// A watch over a folder, which is read when `readIfDue` is called first.
    init(_ path: String, assignsIDs: Bool, logger: Logger) throws(SystemError) {
        folder = try NamespaceFolder(path, assignsIDs: assignsIDs)
        self.logger = logger
    }

    /// The descriptor for a poll set: readable when a file has come or gone.
    var fileDescriptor: CInt { folder.fileDescriptor }

    /// Requests a look at the folder, since something has happened that its descriptor does not tell.
    func request(now: MonotonicTime) { dueAt = min(dueAt, max(now, readAt + Self.intervalMin)) }

    /// Reads the folder into a table if that is due, and returns whether it was.
    func readIfDue(into table: inout EdgeTable, now: MonotonicTime) -> Bool {
        guard now >= dueAt else { return false }
        readAt = now
        let listing = folder.read()
        dueAt =
            now
            + (listing.isUnsettled
                ? NamespaceFolder.settlingInterval : NamespaceFolder.refreshInterval)
        table.apply(listing)
        log(listing.problems)
        return true
    }

    private func log(_ found: [NamespaceProblem]) {
        for problem in found where !problems.contains(problem) {
            logger.warning(
                "\(problem); such pods are captured at the host's ends: \(problem.advice)")
        }
        problems = Set(found)
    }
}
