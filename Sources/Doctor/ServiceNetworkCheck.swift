package import Settings
import Formats
package import Addressing
package import Observation

/// Whether the service networks are those of the services that pods call.
package struct ServiceNetworkCheck: Sendable {
    /// What connection tracking translates at present; nil where it cannot be asked.
    package let flows: [TrackedFlow]?

    package init(flows: [TrackedFlow]?) { self.flows = flows }

    /// More flows tell nothing new.
    static let flowCountMax = 10_000

    private static let name = "service networks"

    package func finding(_ settings: Settings, _ addressPlan: AddressPlan) -> Finding {
        guard settings.deduplicates else {
            return .ok(Self.name, "not needed, as each edge reports all")
        }
        let given = settings.serviceNetworks.map(\.description).joined(separator: ", ")
        let missing = missing(addressPlan)
        if !missing.isEmpty { return Self.finding(given, missing, addressPlan) }
        guard given.isEmpty else { return .ok(Self.name, given) }
        return Finding(
            .note, Self.name, "none given",
            meaning: """
                calls to services, if the node's connection tracking translates them, are then \
                reported twice in part, in two forms; \
                \(flows == nil ? "it cannot be asked whether it does" : "it shows none at present")
                """,
            remedy: """
                give the cluster's with \(Setting.serviceNetworks.option) or \
                \(Setting.serviceNetworks.variable): the API server's --service-cluster-ip-range
                """)
    }

    /// What pods call and is none of the addresses that are known, while a pod answers.
    private func missing(_ addressPlan: AddressPlan) -> [IPAddress] {
        let calls = (flows ?? []).filter { flow in
            let called = flow.original.destination
            return addressPlan.isPod(flow.original.source) && addressPlan.isPod(flow.reply.source)
                && called != flow.reply.source && !called.isLoopback
                && !addressPlan.isService(called) && !addressPlan.isPod(called)
                && !addressPlan.nodeAddresses.contains(called)
        }
        return Set(calls.map(\.original.destination)).sorted()
    }

    private static func finding(
        _ given: String, _ missing: [IPAddress], _ addressPlan: AddressPlan
    ) -> Finding {
        let guesses = IPAddress.Family.allCases.compactMap { family in
            guess(missing.filter { $0.family == family }, besides: addressPlan.podNetworks)
        }.map(\.description)
        return Finding(
            .warning, name,
            "\(given.isEmpty ? "none given" : given), but pods call "
                + Wording.few(missing.map(\.description)),
            meaning: """
                connection tracking translates these to pods' addresses, so packets of such calls are \
                reported twice in part, in two forms
                """,
            remedy: """
                add their network to \(Setting.serviceNetworks.option), perhaps \
                \(guesses.joined(separator: ",")): the API server's --service-cluster-ip-range has \
                the services', and load balancers that pods call belong there, too
                """)
    }

    /// The network that the addresses are probably of: one that is usual and has all of them, or else
    /// what they have in common, and some room.
    package static func guess(
        _ addresses: [IPAddress], besides podNetworks: [IPNetwork]
    ) -> IPNetwork? {
        guard let first = addresses.first else { return nil }
        let narrowest = first.family == .ipv4 ? 24 : 112
        let common = (0...first.family.bitCount).last { bitCount in
            addresses.allSatisfy { IPNetwork(first, prefixBitCount: bitCount).contains($0) }
        }
        let wide = IPNetwork(first, prefixBitCount: min(common ?? 0, narrowest))
        let candidates = usual.filter { network in addresses.allSatisfy(network.contains) } + [wide]
        return candidates.first { network in !podNetworks.contains { $0.overlaps(network) } }
            ?? IPNetwork(first, prefixBitCount: common ?? 0)
    }

    /// What installers take where nobody says otherwise: kubeadm, k3s, MicroK8s, EKS (two), OpenShift,
    /// GKE and AKS.
    private static let usual = [
        "10.96.0.0/12", "10.43.0.0/16", "10.152.183.0/24", "10.100.0.0/16", "172.20.0.0/16",
        "172.30.0.0/16", "34.118.224.0/20", "10.0.0.0/16",
    ].compactMap { IPNetwork($0) }
}
