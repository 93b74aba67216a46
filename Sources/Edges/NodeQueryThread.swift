import Glibc
import Linux
import Metrics
import Synchronization
import Time

/// A thread that asks the kernel about the node's network.
///
/// It keeps `NodeMonitor` from waiting: a new edge is seen at once while the kernel takes its time
/// with a query about another one.
final class NodeQueryThread: Sendable {
    private let queries: Mailbox<NodeQuery>
    private let replies: Mailbox<NodeReply>
    private let isStopping = Atomic(false)

    /// The most queries and replies that wait, 40 for each pod of a large node.
    ///
    /// What is dropped beyond it is asked about again within half a minute
    /// (`RefreshSchedule.pollInterval`).
    private static let countMax = 10_000
    private static let retryDelay = Duration.milliseconds(100)

    /// Starts the thread, which runs until `stop`.
    init(_ watchdog: Watchdog) throws(SystemError) {
        queries = try Mailbox(countMax: Self.countMax)
        replies = try Mailbox(countMax: Self.countMax)
        let source = TransferBox(try NodeSource())
        try Thread { [self] in
            nameThread("podwire-pods")
            if var source = source.take() {
                run(&source, watchdog.begin("the thread that asks pods"))
            }
        }.detach()
    }

    /// The descriptor, for a poll set: readable when replies wait.
    var fileDescriptor: CInt { replies.fileDescriptor }

    /// Sends queries, without those that wait already.
    ///
    /// Never waits.
    func send(_ queries: [NodeQuery]) {
        for query in queries { self.queries.send(query, unlessWaiting: \.self) }
    }

    /// Takes the replies since the last call.
    ///
    /// Never waits.
    func takeReplies() -> [NodeReply] { replies.takeAll() }

    /// Stops the thread after its present query.
    ///
    /// Does not wait for that.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        // Any query wakes the thread; if the mailbox is full, the thread is awake.
        queries.send(.own)
    }

    private func run(_ source: inout NodeSource, _ heartbeat: consuming Watchdog.Heartbeat) {
        while true {
            heartbeat.beat()
            let deadline = MonotonicTime.now + Watchdog.waitMax
            for query in queries.takeAll(waitingUntil: deadline) {
                if isStopping.load(ordering: .acquiring) { return }
                heartbeat.beat()
                if let reply = try? source.reply(to: query) {
                    replies.send(reply)
                } else if query == .own {
                    // Nobody else asks this again; pods are asked about several times anyway.
                    sleep(until: .now + Self.retryDelay)
                    queries.send(query, unlessWaiting: \.self)
                }
            }
        }
    }
}
