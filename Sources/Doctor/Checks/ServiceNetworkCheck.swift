import Addressing
import Edges
import Formats
import Observation
import Settings

/// Checks whether the service networks hold the services that pods call.
enum ServiceNetworkCheck: DoctorCheck {
    static let id = "service-networks"
    static let title = "service networks"

    static func findings(_ node: Examination) -> [Finding] {
        guard let network = node.node else { return [] }
        guard node.settings.deduplicates else {
            return [ok("not needed, since every edge reports everything")]
        }
        let given = node.settings.serviceNetworks.map(\.description).joined(separator: ", ")
        let addressPlan = network.addressPlan(node.ruleSettings)
        let missing = missing(node.translatedFlows ?? [], addressPlan)
        if !missing.isEmpty { return [incomplete(given, missing, addressPlan)] }
        return [given.isEmpty ? none(isTrackingKnown: node.translatedFlows != nil) : ok(given)]
    }

    private static func none(isTrackingKnown: Bool) -> Finding {
        finding(
            .note, "none given",
            meaning: """
                if the node's connection tracking translates calls to services, parts of them are \
                reported twice, in two forms; \
                \(isTrackingKnown
                    ? "it translates none at present"
                    : "it is unavailable, so this is not known")
                """,
            remedy: """
                set \(Setting.serviceNetworks.option) or \(Setting.serviceNetworks.variable) to the \
                API server's --service-cluster-ip-range
                """)
    }

    /// The addresses that pods call, that pods answer for, and that are no known addresses.
    private static func missing(
        _ flows: [TrackedFlow], _ addressPlan: AddressPlan
    ) -> [IPAddress] {
        let calls = flows.filter { flow in
            let called = flow.original.destination
            return addressPlan.isPod(flow.original.source) && addressPlan.isPod(flow.reply.source)
                && called != flow.reply.source && !called.isLoopback
                && !addressPlan.isService(called) && !addressPlan.isPod(called)
                && !addressPlan.nodeAddresses.contains(called)
        }
        return Set(calls.map(\.original.destination)).sorted()
    }

    private static func incomplete(
        _ given: String, _ missing: [IPAddress], _ addressPlan: AddressPlan
    ) -> Finding {
        let guesses = IPAddress.Family.allCases.compactMap { family in
            guess(missing.filter { $0.family == family }, besides: addressPlan.podNetworks)
        }.map(\.description)
        let called = Wording.few(missing.map(\.description))
        return finding(
            .warning, "\(given.isEmpty ? "none given" : given), but pods call \(called)",
            meaning: """
                connection tracking translates these to pods' addresses, so parts of such calls are \
                reported twice, in two forms
                """,
            remedy: """
                add their network to \(Setting.serviceNetworks.option), perhaps \
                \(guesses.joined(separator: ",")): the API server's --service-cluster-ip-range has \
                that of services; load balancers that pods call belong there as well
                """)
    }

    /// The network that some addresses are probably in.
    ///
    /// It is a usual one that has all of them, or else what they have in common, with some room.
    private static func guess(
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

    /// The defaults of installers: kubeadm, k3s, MicroK8s, EKS (two), OpenShift, GKE and AKS.
    private static let usual = [
        "10.96.0.0/12", "10.43.0.0/16", "10.152.183.0/24", "10.100.0.0/16", "172.20.0.0/16",
        "172.30.0.0/16", "34.118.224.0/20", "10.0.0.0/16",
    ].compactMap { IPNetwork($0) }
}
