package import Metrics

/// The state of the threads that follow the node's network, for metrics and probes.
package final class NodeStatus: Sendable {
    /// Whether all events since the last listing have been applied.
    package let isSynced = Flag(true)
    /// The number of times that events were lost and everything was listed again.
    package let resyncs = Counter()
    /// The number of times that following the node failed and was started again.
    package let failures = Counter()
    /// The number of MAC addresses that were not kept because too many live behind one port.
    package let macsNotKept = Counter()
    /// The number of times that the ports of bridges were listed again because events were lost.
    package let bridgeListings = Counter()
    /// The number of ports that had more MAC addresses than are listed, once for each listing.
    package let bridgePortsCut = Counter()
    /// The number of times that a bridge has learned a pod's own MAC address behind another edge.
    package let macsTaken = Counter()
    /// The number of changes that waited because pods had made too many.
    package let podChangesPostponed = Counter()
    /// Whether packets have been proven to bypass the host's ends of veth pairs.
    package let isBypassed = Flag(false)
    /// The watchdog of the threads that follow the node.
    let watchdog: Watchdog

    /// A status that is synced.
    package init(_ watchdog: Watchdog = Watchdog()) { self.watchdog = watchdog }
}
