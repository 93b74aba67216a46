import Glibc
import Linux
import Metrics
import Synchronization
import Time

/// A thread that lists what the bridges know behind their ports.
///
/// A pod can fill a bridge's table, and the kernel is slow to list a full one. That must keep nobody
/// from asking about pods.
final class BridgeListingThread: Sendable {
    private let requests: Mailbox<Request>
    private let replies: Mailbox<BridgeListing>
    private let isStopping = Atomic(false)

    private struct Request: Sendable {
        let ports: [UInt32]
        let changeCount: Int
    }

    /// The longest pause after a port.
    ///
    /// The kernel keeps others from changing interfaces while it lists.
    private static let pauseMax = Duration.milliseconds(100)

    /// Starts the thread, which runs until `stop`.
    init(_ watchdog: Watchdog) throws(SystemError) {
        // One listing at a time.
        requests = try Mailbox(countMax: 1)
        replies = try Mailbox(countMax: 1)
        try Thread { [self] in
            nameThread("podwire-macs")
            run(watchdog.begin("the thread that lists bridges"))
        }.detach()
    }

    /// The descriptor, for a poll set: readable when a listing waits.
    var fileDescriptor: CInt { replies.fileDescriptor }

    /// Requests a listing of some ports, of which one runs at a time.
    ///
    /// Never waits.
    func send(_ ports: [UInt32], changeCount: Int) {
        requests.send(Request(ports: ports, changeCount: changeCount))
    }

    /// Takes the listings since the last call.
    ///
    /// Never waits.
    func takeReplies() -> [BridgeListing] { replies.takeAll() }

    /// Stops the thread after its present port.
    ///
    /// Does not wait for that.
    func stop() {
        isStopping.store(true, ordering: .releasing)
        // Any request wakes the thread; if the mailbox is full, the thread is awake.
        send([], changeCount: 0)
    }

    private func run(_ heartbeat: consuming Watchdog.Heartbeat) {
        while true {
            heartbeat.beat()
            let deadline = MonotonicTime.now + Watchdog.waitMax
            for request in requests.takeAll(waitingUntil: deadline) {
                let listing = BridgeListing(
                    of: request.ports, changeCount: request.changeCount
                ) { duration in
                    heartbeat.beat()
                    // Others wait for the kernel's lock meanwhile.
                    if duration > .milliseconds(1) {
                        sleep(until: .now + min(duration, Self.pauseMax))
                    }
                    return !isStopping.load(ordering: .acquiring)
                }
                replies.send(listing)
            }
            if isStopping.load(ordering: .acquiring) { return }
        }
    }
}
