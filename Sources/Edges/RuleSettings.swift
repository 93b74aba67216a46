package import Addressing
package import Settings

/// The settings that the rule is made from.
package struct RuleSettings: Equatable, Sendable {
    /// The networks of pod addresses, the same on every node (`PODNET`).
    package var podNetworks: [IPNetwork]
    /// The networks of service addresses (`SVCNET`).
    package var serviceNetworks: [IPNetwork]
    /// The parts of the pod networks that no agent watches (`--uncovered`).
    package var uncovered: [IPNetwork]
    /// Whether a packet is reported once, or by every edge that it passes.
    package var deduplicates: Bool

    /// Settings by their values.
    package init(
        podNetworks: [IPNetwork], serviceNetworks: [IPNetwork] = [], uncovered: [IPNetwork] = [],
        deduplicates: Bool = true
    ) {
        self.podNetworks = podNetworks
        self.serviceNetworks = serviceNetworks
        self.uncovered = uncovered
        self.deduplicates = deduplicates
    }

    /// The part of an agent's settings that the rule needs.
    package init(_ settings: Settings) {
        self.init(
            podNetworks: settings.podNetworks, serviceNetworks: settings.serviceNetworks,
            uncovered: settings.uncovered, deduplicates: settings.deduplicates)
    }
}
