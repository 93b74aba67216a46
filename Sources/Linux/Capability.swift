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

    /// Needed for a niceness below the inherited one.
    package static let sysNice = Self(name: "CAP_SYS_NICE", number: CAP_SYS_NICE)
    /// Needed to listen at ports below 1024.
    package static let netBindService = Self(
        name: "CAP_NET_BIND_SERVICE", number: CAP_NET_BIND_SERVICE)
    /// Needed to read files of other users that only these may read.
    package static let dacReadSearch = Self(
        name: "CAP_DAC_READ_SEARCH", number: CAP_DAC_READ_SEARCH)
    /// As `dacReadSearch`, and for writing; container runtimes give this one by default.
    package static let dacOverride = Self(name: "CAP_DAC_OVERRIDE", number: CAP_DAC_OVERRIDE)

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

extension Capability {
    /// The number of capabilities that are in effect for this process.
    package static var heldCount: Int { max(0, clinux_effective_capabilities()).nonzeroBitCount }

    /// Gives up, for good, all capabilities of this process but some, and gains of programs to run.
    ///
    /// It holds for the calling thread and those that it starts, so it is called before there are others.
    ///
    /// - Parameter kept: What the process keeps, as far as it is held.
    /// - Returns: The number of capabilities that were held and are no more.
    /// - Throws: The kernel's reason if they stay.
    package static func giveUpAll(but kept: Set<Capability>) throws(SystemError) -> Int {
        let mask = kept.reduce(UInt64(0)) { $0 | 1 << UInt64($1.number) }
        return Int(
            try call("give up capabilities") { clinux_keep_capabilities(mask) })
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
        let advice = adviceOnCapability(
            inKubernetes: "add it under securityContext.capabilities")
        return "needs \(capability.name): \(advice)"
    }
}
