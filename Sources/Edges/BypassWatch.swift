import Linux
import Log
import Logging
import Metrics
import Netlink
import Settings
import Time

/// A watch over the counters of pairs, for packets that bypass the host's ends of veths.
///
/// When that is proven, edges are captured inside their pods, or a person is told to have them
/// captured there.
struct BypassWatch {
    private var proof = BypassProof()
    /// Why counters could not be compared, as far as the log says it already.
    private var failures: Set<Errno> = []
    /// When counters are read next; the distant future if nothing is to be proven.
    private(set) var dueAt = MonotonicTime.distantFuture
    private let logger: Logger
    private let status: NodeStatus

    init(logger: Logger, status: NodeStatus) {
        self.logger = logger
        self.status = status
    }

    /// Begins to look, where pods count such packets and it is not known yet what is to be proven.
    mutating func begin(_ plan: TapPlan) {
        guard plan.mode != .pod, !plan.isBlind else { return }
        if let release = KernelRelease.current, release < .redirectCounters {
            guard plan.mode == .auto else { return }
            logger.notice(
                """
                before Linux \(KernelRelease.redirectCounters) nothing tells whether packets bypass \
                veths, so \(Setting.tap.option) auto captures at their host's ends; if the network \
                plug-in redirects packets to pods, set \(Setting.tap.option) pod
                """, metadata: ["release": "\(release)"])
        } else {
            dueAt = .now
        }
    }

    /// Takes the order to read counters, if it is time to.
    mutating func takeDue(_ plan: TapPlan, now: MonotonicTime) -> Bool {
        guard now >= dueAt else { return false }
        // Where a proof only makes a line in the log, it need not come at once.
        let interval =
            plan.mode == .auto || !proof.hasReading
            ? BypassProof.interval : BypassProof.idleInterval
        dueAt = now + interval
        return true
    }

    /// Looks whether packets bypass the host's ends of veths.
    mutating func look(at readings: [PairCounters], in table: inout EdgeTable) {
        guard !table.tapPlan.isBlind else { return }
        let incarnations = table.incarnations
        let pairs = readings.filter { !$0.link.isNetkit }.compactMap { pair in
            incarnations[pair.link.index].map { ($0, pair) }
        }
        guard let bypass = proof.record(Dictionary(pairs) { $1 }).first else { return }
        table.tapPlan.isBlind = true
        status.isBypassed.set(true)
        dueAt = .distantFuture
        let name = pairs.first { $0.0 == bypass.incarnation }?.1.link.name
        let metadata: Logger.Metadata = [
            "edge": "\(name ?? "")", "missed_count": .number(bypass.missedCount),
            "packet_count": .number(bypass.carriedCount),
        ]
        guard table.tapPlan.mode == .auto else {
            return logger.warning(
                """
                packets bypass the host's ends of veths, where edges are captured, so part of them is \
                missing: set \(Setting.tap.option) pod, with `podwire opener` beside the agent \
                (k8s/components/pod-taps)
                """, metadata: metadata)
        }
        logger.notice(
            "packets bypass the host's ends of veths, so edges are captured inside their pods now",
            metadata: metadata)
    }

    /// Says that nothing can be proven, once for each reason.
    mutating func recordFailure(_ error: SystemError, _ plan: TapPlan) {
        guard plan.mode == .auto, failures.insert(error.errno).inserted else { return }
        logger.warning(
            """
            the counters of pods' interfaces cannot be read, so nothing tells whether packets bypass \
            the host's ends of veths, and edges stay there: give the agent CAP_NET_ADMIN, or set \
            \(Setting.tap.option) pod
            """, metadata: ["reason": "\(error)"])
    }
}
