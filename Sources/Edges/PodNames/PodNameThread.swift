import Addressing
import Glibc
import Linux
import Synchronization
import Time

/// A thread that searches for pods' names, so that nothing else waits for the disk.
final class PodNameThread: Sendable {
    private let queries: Mailbox<PodNameQuery>
    private let results: Mailbox<Result>
    private let isStopping = Atomic(false)

    /// The result of one search.
    struct Result: Sendable {
        /// The names that were found, by their queries, which may be out of date.
        var names: [PodNameQuery: PodName] = [:]
        /// Why the folder cannot be read.
        var failure: SystemError?
    }

    /// The pause between two searches.
    ///
    /// A pod that changes its addresses all the time causes searches as often as that.
    private static let pause = Duration.milliseconds(50)
    /// The most queries that wait, one for each edge; far more than a node can have.
    private static let queryCountMax = 10_000
    /// The most results that wait: those of a minute.
    private static let resultCountMax = 1200

    /// Starts the thread, which runs until `stop`.
    init(folder: String) throws(SystemError) {
        queries = try Mailbox(countMax: Self.queryCountMax)
        results = try Mailbox(countMax: Self.resultCountMax)
        try Thread { [self] in
            nameThread("podwire-names")
            run(AttachmentCache(folder: folder))
        }.detach()
    }

    /// The descriptor, for a poll set: readable when results wait.
    var fileDescriptor: CInt { results.fileDescriptor }

    /// Sends queries, which replace waiting ones for the same edges.
    ///
    /// Never waits.
    func send(_ queries: [PodNameQuery]) {
        for query in queries { self.queries.send(query, replacing: \.incarnation) }
    }

    /// Takes the results since the last call.
    ///
    /// Never waits.
    func takeResults() -> [Result] { results.takeAll() }

    /// Stops the thread after its present search.
    ///
    /// Does not wait for that.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        // Any query wakes the thread; if the mailbox is full, the thread is awake.
        queries.send(
            PodNameQuery(
                incarnation: 0, interface: "", podMAC: nil, podAddresses: [], appearedAt: nil))
    }

    private func run(_ cache: AttachmentCache) {
        var cache = cache
        while true {
            let queries = queries.takeAll(waitingUntil: nil)
            if isStopping.load(ordering: .acquiring) { return }
            guard !queries.isEmpty else { continue }
            results.send(Self.search(queries, &cache))
            sleep(until: .now + Self.pause)
        }
    }

    private static func search(
        _ queries: [PodNameQuery], _ cache: inout AttachmentCache
    ) -> Result {
        var result = Result()
        do throws(SystemError) {
            let files = try cache.read()
            for query in queries { result.names[query] = query.name(among: files) }
        } catch {
            result.failure = error
        }
        return result
    }
}
