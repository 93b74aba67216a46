import Netlink
package import Settings

/// Which edges are to be captured inside their pods, by the settings and what has been found out.
package struct TapPlan: Equatable, Sendable {
    /// The setting.
    package let mode: TapSettings.Mode
    /// Whether packets have been proven to bypass the host's end of a veth pair.
    package var isBlind = false

    /// Whether interfaces of pods without a host end are edges as well.
    package let includesPodInterfaces: Bool

    /// A plan by the settings, while nothing has been found out.
    package init(_ mode: TapSettings.Mode = .host, includesPodInterfaces: Bool = false) {
        (self.mode, self.includesPodInterfaces) = (mode, includesPodInterfaces)
    }

    /// A plan by the settings, while nothing has been found out.
    package init(_ settings: TapSettings) {
        self.init(settings.mode, includesPodInterfaces: settings.includesPodInterfaces)
    }

    /// Whether any edge may be captured inside its pod.
    package var needsNamespaces: Bool { mode != .host || includesPodInterfaces }

    /// Whether an edge is to be captured inside its pod.
    ///
    /// At the host's end of a netkit pair the kernel shows half of its packets.
    func wantsPod(_ link: Link) -> Bool {
        switch mode {
        case .host: false
        case .pod: true
        case .auto: isBlind || link.isNetkit
        }
    }
}

extension Link {
    /// Whether the interface is one end of a netkit pair.
    package var isNetkit: Bool { kind == "netkit" }

    /// Whether the interface is one end of a pair whose other end can be in a pod.
    package var isPairEnd: Bool { kind == "veth" || isNetkit }
}
