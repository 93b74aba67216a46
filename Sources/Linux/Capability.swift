import CLinux
import Glibc

/// A right that root has in parts (capabilities(7)).
package struct Capability: Hashable, Sendable {
    package let name: String
    private let number: CInt

    package static let netRaw = Self(name: "CAP_NET_RAW", number: CAP_NET_RAW)
    package static let netAdmin = Self(name: "CAP_NET_ADMIN", number: CAP_NET_ADMIN)
    /// To hear what changes inside other network namespaces.
    package static let netBroadcast = Self(name: "CAP_NET_BROADCAST", number: CAP_NET_BROADCAST)

    private init(name: String, number: CInt) {
        self.name = name
        self.number = number
    }

    /// Whether this process has it in effect.
    package var isHeld: Bool {
        let held = clinux_effective_capabilities()
        return held >= 0 && held & 1 << Int64(number) != 0
    }
}

/// Whether this process is root, as far as its user namespace goes.
package func isSuperuser() -> Bool { geteuid() == 0 }

/// A capability that the process lacks, and where to add it.
package struct MissingCapability: Error, CustomStringConvertible {
    package let capability: Capability

    package init(_ capability: Capability) { self.capability = capability }

    package var description: String {
        "needs \(capability.name): add it under securityContext.capabilities"
    }
}
