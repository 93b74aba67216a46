package import Metrics

/// How the agent keeps up with its node.
package final class NodeStatus: Sendable {
    /// Whether all events since the last look at everything have been taken in.
    package let isInStep = Condition(true)
    /// How often events were lost and everything was read anew.
    package let resyncs = Tick()
    /// How often following the node failed and was begun anew.
    package let failures = Tick()
    /// Where the threads that follow it say that they turn.
    let pulses: Pulses

    package init(_ pulses: Pulses = Pulses()) { self.pulses = pulses }
}
