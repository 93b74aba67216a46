import CLinux
import Glibc

/// A Linux capability: one of the parts that root's rights are divided into (capabilities(7)).
package struct Capability: Hashable, Sendable {
    /// The name in the headers: `"CAP_NET_RAW"`.
    package let name: String
    private let number: CInt

    /// Needed to open packet sockets.
    package static let netRaw = Self(name: "CAP_NET_RAW", number: CAP_NET_RAW)
    /// Needed to ask about other network namespaces and about connection tracking.
    package static let netAdmin = Self(name: "CAP_NET_ADMIN", number: CAP_NET_ADMIN)
    /// Needed to receive netlink events from other network namespaces.
    package static let netBroadcast = Self(name: "CAP_NET_BROADCAST", number: CAP_NET_BROADCAST)

    /// Needed to read the tables of other programs' eBPF (`bpf(2)`) in a container.
    package static let bpf = Self(name: "CAP_BPF", number: CAP_BPF)

    /// Needed to enter other network namespaces.
    package static let sysAdmin = Self(name: "CAP_SYS_ADMIN", number: CAP_SYS_ADMIN)

    private init(name: String, number: CInt) {
        self.name = name
        self.number = number
    }

    /// Whether the capability is in effect for this process.
    package var isHeld: Bool {
        let held = clinux_effective_capabilities()
        return held >= 0 && held & 1 << Int64(number) != 0
    }
}

/// The effective user id of this process.
package func effectiveUser() -> UInt32 { geteuid() }

/// Whether this process is root in its user namespace.
package func isSuperuser() -> Bool { geteuid() == 0 }

/// A capability that the process lacks, and where to add it.
package struct MissingCapability: Error, CustomStringConvertible {
    package let capability: Capability

    package init(_ capability: Capability) { self.capability = capability }

    package var description: String {
        "needs \(capability.name): add it under securityContext.capabilities"
    }
}
