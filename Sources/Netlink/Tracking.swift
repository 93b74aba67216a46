import Glibc
package import Linux

/// Whether connection tracking is to be asked about calls that the node translates, and can be.
package enum Tracking: Equatable, Sendable {
    case notNeeded
    case available
    case unavailable(SystemError)

    /// Asks the kernel, if such calls are to be looked up at all.
    package init(isNeeded: Bool) {
        self = isNeeded ? Self.current : .notNeeded
    }

    /// Whether the kernel answers questions about tracked connections now.
    package static var current: Self {
        do throws(SystemError) {
            var table = try Conntrack()
            try table.check()
            return .available
        } catch {
            return .unavailable(error)
        }
    }

    /// What is missed where it cannot be asked.
    package static let loss = """
        calls to services are reported only where the backend's edge does: missing are calls whose \
        client has the lower port, and calls to services with no pod behind them; \(frontLoss)
        """

    /// What that means for calls to other addresses that the node translates.
    package static let frontLoss = """
        calls to node addresses that are translated without masquerading are reported in both forms
        """

    /// What to do where it refuses.
    package static func advice(_ failure: SystemError) -> String {
        failure.errno == .notPermitted
            ? "\(MissingCapability(.netAdmin))" : "the kernel needs nf_conntrack_netlink"
    }
}
