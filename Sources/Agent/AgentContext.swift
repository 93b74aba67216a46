import Kernel

/// What the sessions of an agent share.
final class AgentContext: Sendable {
    let settings: Settings
    let feed: NodeFeed
    /// Whether calls to services are looked up in connection tracking.
    let tracksConnections: Bool
    /// Raised once, when the agent is to stop.
    let stop: Event

    init(_ settings: Settings, _ feed: NodeFeed, tracksConnections: Bool) throws(SystemError) {
        self.settings = settings
        self.feed = feed
        self.tracksConnections = tracksConnections
        stop = try Event()
    }
}
