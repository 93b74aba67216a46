package import Addressing

/// A table in which Cilium's programs keep what they did with calls to services.
///
/// Cilium pins each under its name. Its programs translate a call packet by packet, so the kernel's
/// connection tracking knows nothing of it. The shapes are those of Cilium 1.13 to 1.18
/// (`bpf/lib/common.h`). A table of another shape must not be read.
package struct CiliumTable: Hashable, Sendable {
    /// What a table has.
    package enum Content: CaseIterable, Sendable {
        /// TCP connections, with the backend of each call to a service.
        case tcpConnections
        /// The same of all other protocols.
        case otherConnections
        /// Backends by their number.
        case backends
    }

    /// The family of its addresses.
    package let family: IPAddress.Family
    /// What it has.
    package let content: Content

    package init(_ family: IPAddress.Family, _ content: Content) {
        (self.family, self.content) = (family, content)
    }

    /// The tables of a family.
    package static func all(of family: IPAddress.Family) -> [Self] {
        Content.allCases.map { Self(family, $0) }
    }

    /// The name of the pin.
    package var name: String {
        let version = family == .ipv4 ? 4 : 6
        return switch content {
        case .tcpConnections: "cilium_ct\(version)_global"
        case .otherConnections: "cilium_ct_any\(version)_global"
        case .backends: "cilium_lb\(version)_backends_v3"
        }
    }

    /// The length of a key: a tuple of two addresses, two ports, protocol and flags; or a number.
    package var keyByteCount: Int {
        content == .backends ? 4 : 2 * family.byteCount + 6
    }

    /// The length of a value: `struct ct_entry`; or an address with port, protocol, state and zone.
    package var valueByteCount: Int {
        content == .backends ? family.byteCount + 8 : 56
    }
}
