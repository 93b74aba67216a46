package import Metrics

/// How the agent keeps up with its node.
package final class NodeStatus: Sendable {
    /// Whether all events since the last look at everything have been taken in.
    package let isInStep = Flag(true)
    /// How often events were lost and everything was read anew.
    package let resyncs = Counter()
    /// How often following the node failed and was begun anew.
    package let failures = Counter()
    /// Where the threads that follow it say that they turn.
    let pulses: Watchdog

    package init(_ pulses: Watchdog = Watchdog()) { self.pulses = pulses }
}
