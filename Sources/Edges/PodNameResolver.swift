import Addressing
import Glibc
import Linux
import Logging
import Time

/// Finds the names of the pods behind a node's edges, soon after the container runtime writes them.
struct PodNameResolver: ~Copyable {
    private let thread: PodNameThread
    private var schedule = PodNameSchedule()
    /// When each edge appeared, by the wall clock; nil for those that were there at the start.
    private var appearances: [UInt64: UInt64?]
    private let logger: Logger
    private var failureErrno: Errno?
    /// Whether names can be read at all; false until that is known.
    private(set) var isAvailable = false

    /// Starts a thread that reads a folder of libcni's cache.
    init(folder: String, _ node: Node, logger: Logger) throws(SystemError) {
        thread = try PodNameThread(folder: folder)
        appearances = Dictionary(
            uniqueKeysWithValues: node.veths.map { ($0.incarnation, nil) })
        self.logger = logger
    }

    deinit { thread.stop() }

    /// The descriptor, for a poll set: readable when `takeNames` has something to return.
    var fileDescriptor: CInt { thread.fileDescriptor }

    /// When `follow` has to be called although nothing has changed; nil for never.
    var dueAt: MonotonicTime? { schedule.dueAt }

    /// Takes the node as it is now, and starts the searches that are due.
    mutating func follow(_ node: Node, now: MonotonicTime) {
        let wallClock = wallClockNanoseconds()
        var next: [UInt64: UInt64?] = [:]
        for veth in node.veths {
            next[veth.incarnation] = .some(appearances[veth.incarnation] ?? wallClock)
        }
        appearances = next
        let queries = node.veths.compactMap { veth in
            veth.nameQuery(appearedAt: next[veth.incarnation] ?? nil)
        }
        schedule.follow(queries, now: now)
        thread.send(schedule.takeDue(now: now))
    }

    /// Takes the names that were found since the last call, by the edges' incarnations.
    ///
    /// Edges that have changed since the search began are left out: another pod may be behind them.
    mutating func takeNames(for node: Node) -> [UInt64: PodName] {
        let results = thread.takeResults()
        guard let last = results.last else { return [:] }
        record(last.failure)
        var found: [PodNameQuery: PodName] = [:]
        for result in results { found.merge(result.names) { $1 } }
        var names: [UInt64: PodName] = [:]
        for veth in node.veths {
            guard let appearedAt = appearances[veth.incarnation],
                let query = veth.nameQuery(appearedAt: appearedAt)
            else { continue }
            names[veth.incarnation] = found[query]
        }
        return names
    }

    private mutating func record(_ failure: SystemError?) {
        isAvailable = failure == nil
        if let failure, failure.errno != failureErrno {
            // A missing folder is normal: not every runtime has one.
            logger.log(
                level: failure.errno == .noSuchFileOrDirectory ? .debug : .notice,
                "pod names unavailable", metadata: ["reason": "\(failure)"])
        }
        failureErrno = failure?.errno
    }
}
