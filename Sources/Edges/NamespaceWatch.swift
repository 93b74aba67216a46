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
    private var news = NamespaceProblemNews()
    private var readAt = MonotonicTime.zero
    /// When the folder is looked at next.
    private(set) var dueAt = MonotonicTime.zero

    /// The shortest time between two looks, each of which takes 2 ms on a full node.
    private static let intervalMin = Duration.milliseconds(10)
    /// The shortest time between two looks that are requested only because a file has not been found.
    ///
    /// Some pods never have one in the folder, and each change of their interfaces would cause a look.
    private static let lackIntervalMin = Duration.milliseconds(200)

    /// A watch over a folder, which is read when `readIfDue` is called first.
    init(_ path: String, assignsIDs: Bool, logger: Logger) throws(SystemError) {
        folder = try NamespaceFolder(path, assignsIDs: assignsIDs)
        self.logger = logger
    }

    /// The descriptor for a poll set: readable when a file has come or gone.
    ///
    /// It is -1 while that would be too early for a look, until `wakeTime`: it stays readable up to
    /// the look, and the thread that waits for it would not wait.
    func fileDescriptor(now: MonotonicTime) -> CInt {
        now < readAt + Self.intervalMin ? -1 : folder.fileDescriptor
    }

    /// When a look is due, or the descriptor is to be waited for.
    func wakeTime(now: MonotonicTime) -> MonotonicTime {
        let waitsAt = readAt + Self.intervalMin
        return now < waitsAt ? min(dueAt, waitsAt) : dueAt
    }

    /// Requests a look at the folder, since something has happened there, or that the descriptor does not tell.
    func request(now: MonotonicTime) { request(now, Self.intervalMin) }

    /// Requests a look at the folder, since the file of some namespace has not been found.
    func requestForLack(now: MonotonicTime) { request(now, Self.lackIntervalMin) }

    private func request(_ now: MonotonicTime, _ interval: Duration) {
        dueAt = min(dueAt, max(now, readAt + interval))
    }

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
        for problem in news.take(listing.problems, now: now) {
            logger.warning(
                """
                \(problem); pods whose namespaces are not found are captured at the host's ends: \
                \(problem.advice)
                """)
        }
        return true
    }
}
