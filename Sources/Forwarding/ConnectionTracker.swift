import Addressing
import Linux
import Netlink
import Observation
import Synchronization

/// Finds out for one capture's slow path what the node makes of calls to services: from the events of
/// new flows, from what exists when the capture begins, and by asking about the rest.
///
/// It belongs to the forwarder's thread. What it may cost that thread is bounded per second, since
/// anybody can send packets to service addresses that nobody will ever explain.
struct ConnectionTracker: ~Copyable {
    private var events: ConntrackEvents
    private var table: Conntrack
    private let counters: CaptureCounters
    private var questions = Budget(countPerSecond: questionCountPerSecondMax)
    private var waits = Budget(countPerSecond: waitCountPerSecondMax)

    /// A question takes the kernel some 5 microseconds, so all of them a hundredth of a core.
    private static let questionCountPerSecondMax = 2000
    /// A packet can be here before its flow is entered into the table, a moment later. That is
    /// waited for, but only so often: most flows without an entry never get one.
    private static let waitCountPerSecondMax = 20
    private static let waitMilliseconds: CInt = 1

    /// Begins to listen, and then tells the slow path what flows there are already.
    init(
        towards networks: [IPNetwork], slowPath: inout SlowPath, counters: CaptureCounters
    ) throws(SystemError) {
        // In this order, or a flow that begins in between would be missed.
        let events = try ConntrackEvents(towards: networks)
        var table = try Conntrack()
        let flows = try table.flows(towards: networks, countMax: SlowPath.flowCountMax)
        let now = monotonicNanoseconds()
        for flow in flows { slowPath.learn(flow, now: now) }
        self.events = events
        self.table = table
        self.counters = counters
    }

    /// Takes in the flows that have begun since the last time.
    mutating func listen(for slowPath: inout SlowPath, now: UInt64) {
        let isComplete = try? events.read { slowPath.learn($0, now: now) }
        guard isComplete != true else { return }
        // What was lost is asked about when its packets come.
        counters.add(1, to: .conntrackOverruns)
        slowPath.invalidate(before: now)
    }

    /// Finds an answer to the slow path's question. Takes at most a millisecond.
    mutating func explain(_ question: FlowKey, to slowPath: inout SlowPath, now: UInt64) {
        listen(for: &slowPath, now: now)
        if slowPath.isCurrent(question, now: now) { return }
        var answer = ask(question, now)
        if answer == .notFound, waits.take(now) {
            _ = try? poll([(events.fileDescriptor, .readable)], milliseconds: Self.waitMilliseconds)
            listen(for: &slowPath, now: now)
            if slowPath.isCurrent(question, now: now) { return }
            answer = ask(question, now)
        }
        slowPath.learn(answer, about: question, now: now)
    }

    private mutating func ask(_ question: FlowKey, _ now: UInt64) -> LookupResult {
        guard questions.take(now) else {
            counters.add(1, to: .lookupsSkipped)
            return .notAsked
        }
        counters.add(1, to: .lookups)
        do throws(SystemError) {
            return try table.flow(question).map { .tracked($0) } ?? .notFound
        } catch {
            counters.add(1, to: .lookupFailures)
            return .notAsked
        }
    }
}

/// How often something may still be done in the second that runs.
private struct Budget {
    private let countPerSecond: Int
    private var takenCount = 0
    private var second: UInt64 = 0

    init(countPerSecond: Int) { self.countPerSecond = countPerSecond }

    mutating func take(_ now: UInt64) -> Bool {
        if now / 1_000_000_000 != second { (second, takenCount) = (now / 1_000_000_000, 0) }
        guard takenCount < countPerSecond else { return false }
        takenCount += 1
        return true
    }
}
