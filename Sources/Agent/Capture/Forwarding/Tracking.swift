import Glibc
import Linux
import Netlink

/// Whether the node's connection tracking is to be asked about calls to services, and can be.
enum Tracking: Equatable {
    case notNeeded
    case available
    case unavailable(SystemError)

    init(_ settings: Settings) {
        let isNeeded = settings.deduplicates && !settings.serviceNetworks.isEmpty
        self = isNeeded ? Self.current : .notNeeded
    }

    /// Asks it.
    static var current: Self {
        do throws(SystemError) {
            var table = try Conntrack()
            try table.check()
            return .available
        } catch {
            return .unavailable(error)
        }
    }

    /// What is missed where it cannot be asked.
    static let loss = """
        calls to services are reported only where the backend's edge does: missing are calls whose \
        client has the lower port, and calls to services with no pod behind them
        """

    /// What to do where it refuses.
    static func advice(_ failure: SystemError) -> String {
        failure.errno == .notPermitted
            ? "\(NodeAgent.MissingCapability(capability: .netAdmin))"
            : "the kernel needs nf_conntrack_netlink"
    }
}
