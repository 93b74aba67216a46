package import Addressing
package import Linux
import Netlink
package import Settings

/// What an empty `PODNET` stands for: the on-link networks of the default route's interface.
///
/// ExtraHop's manifest allows it, and its image has always taken it so.
package struct OnLinkPodNetworks: Equatable, Sendable {
    /// The interface of the default route that the node takes, one or two names.
    package let interfaces: [String]
    /// Its networks, of both families.
    package let networks: [IPNetwork]

    /// Why there are no such networks, and what to do.
    package enum Failure: Error, CustomStringConvertible {
        case none
        case system(SystemError)

        package var description: String {
            switch self {
            case .none:
                """
                \(Setting.podNetworks.variable) is empty, which stands for the on-link networks of the \
                default route's interface, and there are none: give it; it takes \
                \(Setting.podNetworks.form)
                """
            case .system(let error): "\(error)"
            }
        }
    }

    /// The networks as they are on a node; nil if there are none.
    package init?(_ node: Node) {
        let defaults = node.defaultRoutesOutside
        let best = IPAddress.Family.allCases.compactMap { family in
            defaults.filter { $0.destination.family == family }.min { $0.metric < $1.metric }
        }.compactMap(\.interfaceIndex)
        let networks = node.routes.filter { route in
            route.gateway == nil && !route.isDefault && !route.destination.address.isLinkLocalIPv6
                && route.interfaceIndex.map(best.contains) == true
        }.map(\.destination)
        guard !networks.isEmpty else { return nil }
        self.networks = Array(Set(networks)).sorted { $0.address < $1.address }
        interfaces = Set(best).sorted().compactMap { node.link($0)?.name }
    }

    /// Reads the networks from the kernel, which takes some milliseconds.
    package init(reading selection: EdgeSelection) throws(Failure) {
        let node: Node
        do throws(SystemError) {
            node = try Node.read(selection)
        } catch {
            throw .system(error)
        }
        guard let found = Self(node) else { throw .none }
        self = found
    }

    /// The networks and where they are from: `"192.168.100.0/24 of eth0"`.
    package var description: String {
        let networks = networks.map(\.description).joined(separator: ", ")
        return "\(networks) of \(interfaces.joined(separator: " and "))"
    }

    /// What is taken for a pod, for a log.
    package static var warning: String {
        """
        \(Setting.podNetworks.variable) is empty, so what has an address in the on-link networks of \
        the default route's interface is taken for a pod, and nothing else: give the networks of the \
        cluster's pods, if they are others
        """
    }
}
