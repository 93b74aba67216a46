import Edges
import Formats
import Linux

/// Checks whether the node's interfaces can be read and followed.
enum NetlinkCheck: DoctorCheck {
    static let id = "netlink"
    static let title = "netlink"

    static func findings(_ node: Examination) -> [Finding] {
        switch node.netlinkFailure {
        case .listing(let error): return [failed("the node's interfaces cannot be read: \(error)")]
        case .subscription(let error): return [failed("changes cannot be followed: \(error)")]
        case nil:
            guard let links = node.node?.links else { return [] }
            return [ok("\(Wording.count(links.count, "interface")); changes can be followed")]
        }
    }

    private static func failed(_ found: String) -> Finding {
        finding(
            .failed, found, meaning: "the agent does not start",
            remedy: "allow AF_NETLINK in the container's security profile")
    }
}
