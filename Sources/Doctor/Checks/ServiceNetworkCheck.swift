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
        let fronts = fronts(node.translatedFlows ?? [], addressPlan)
        let missing = Set(fronts.map(\.address)).subtracting(addressPlan.nodeAddresses).filter {
            address in !addressPlan.serviceNetworks.contains { $0.family == address.family }
        }
        if fronts.count > FrontTable.countMax { return [crowded(given, fronts, addressPlan)] }
        if !missing.isEmpty { return [incomplete(given, missing.sorted(), addressPlan)] }
        let (own, others) = callers(node.translatedFlows ?? [], addressPlan)
        let besides =
            own.isEmpty
            ? ""
            : """
            ; pods also call \(Wording.few(own)), which this node translates without masquerading: \
            each packet is reported once, in pod form
            """
        let ofOwn =
            given.isEmpty
            ? none(isTrackingKnown: node.translatedFlows != nil, besides) : ok(given + besides)
        return [ofOwn] + (others.isEmpty ? [] : [calledFromElsewhere(others)])
    }

    /// The addresses that pods of this node call, and those that only pods of other nodes call here.
    private static func callers(
        _ flows: [TrackedFlow], _ addressPlan: AddressPlan
    ) -> (own: [String], others: [String]) {
        let ofOwn = flows.filter { addressPlan.isLocalPod($0.original.source) }
        let ofOthers = flows.filter { !addressPlan.isLocalPod($0.original.source) }
        let texts = { (flows: [TrackedFlow]) in
            Set(fronts(flows, addressPlan).map(\.address)).sorted().map(\.description)
        }
        return (texts(ofOwn), texts(ofOthers))
    }

    private static func calledFromElsewhere(_ called: [String]) -> Finding {
        finding(
            .warning, "pods of other nodes call \(Wording.few(called)) here",
            meaning: """
                this node translates these calls without masquerading, which the clients' nodes do \
                not know: they are reported in both forms, as the client and as the backend see them
                """,
            remedy: """
                none is needed if the sensor can do with both; a call to the service's own address \
                is reported once
                """)
    }

    private static func none(isTrackingKnown: Bool, _ besides: String) -> Finding {
        finding(
            .note, "none given\(besides)",
            meaning: """
                if the node's connection tracking translates calls to services, they are learned one \
                by one, and user space decides about all of their packets; \
                \(isTrackingKnown
                    ? "it translates none at present"
                    : "it is unavailable, so this is not known, and they are reported in two forms")
                """,
            remedy: """
                set \(Setting.serviceNetworks.option) or \(Setting.serviceNetworks.variable) to the \
                API server's --service-cluster-ip-range
                """)
    }

    /// What pods call, and pods answer for, beside pods and services: as the slow path learns it.
    private static func fronts(
        _ flows: [TrackedFlow], _ addressPlan: AddressPlan
    ) -> Set<ServiceKey> {
        Set(flows.compactMap { FrontTable.front(of: $0, addressPlan) })
    }

    private static func crowded(
        _ given: String, _ fronts: Set<ServiceKey>, _ addressPlan: AddressPlan
    ) -> Finding {
        let called = Wording.few(Set(fronts.map(\.address)).sorted().map(\.description))
        return finding(
            .warning,
            "\(given.isEmpty ? "none given" : given), but pods call \(fronts.count) addresses and ports besides, such as \(called)",
            meaning: """
                connection tracking translates these to pods' addresses, and an agent learns at most \
                \(FrontTable.countMax) of them: calls to all others are reported in two forms
                """,
            remedy: """
                if they are services, add their network to \(Setting.serviceNetworks.option)\
                \(perhaps(Array(Set(fronts.map(\.address)).subtracting(addressPlan.nodeAddresses)), addressPlan))
                """)
    }

    private static func perhaps(_ addresses: [IPAddress], _ addressPlan: AddressPlan) -> String {
        let guesses = IPAddress.Family.allCases.compactMap { family in
            guess(
                addresses.sorted().filter { $0.family == family },
                besides: addressPlan.podNetworks)
        }
        return guesses.isEmpty
            ? "" : ", perhaps \(guesses.map(\.description).joined(separator: ","))"
    }

    private static func incomplete(
        _ given: String, _ missing: [IPAddress], _ addressPlan: AddressPlan
    ) -> Finding {
        let called = Wording.few(missing.map(\.description))
        return finding(
            .warning, "\(given.isEmpty ? "none given" : given), but pods call \(called)",
            meaning: """
                connection tracking translates these to pods' addresses; without their network, user \
                space decides about all of their packets, an agent learns at most \
                \(FrontTable.countMax) of them, and what goes to the rest is reported in two forms
                """,
            remedy: """
                add their network to \(Setting.serviceNetworks.option)\
                \(perhaps(missing, addressPlan)): the API server's --service-cluster-ip-range has \
                that of services
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
