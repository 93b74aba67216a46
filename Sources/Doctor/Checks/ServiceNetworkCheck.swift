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
        let addressPlan = network.addressPlan(node.likelyRuleSettings)
        let fronts = fronts(node.translatedFlows ?? [], addressPlan)
        let missing = Set(fronts.map(\.address)).subtracting(addressPlan.nodeAddresses).filter {
            address in !addressPlan.serviceNetworks.contains { $0.family == address.family }
        }
        if fronts.count > FrontTable.countMax {
            let addresses = Set(fronts.map(\.address)).subtracting(addressPlan.nodeAddresses)
            return [crowded(given, fronts, perhaps(Array(addresses), addressPlan, node))]
        }
        if !missing.isEmpty {
            let addresses = missing.sorted()
            return [incomplete(given, addresses, perhaps(addresses, addressPlan, node))]
        }
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
            ? none(node, besides) : ok(given + besides)
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

    private static func none(_ node: Examination, _ besides: String) -> Finding {
        let isTrackingKnown = node.translatedFlows != nil
        let proposal = node.serviceNetworkProposal
        let seen = node.serviceAddresses.map { address in
            address == node.kubernetesService ? "\(address) (the cluster's API)" : "\(address)"
        }
        let likely =
            proposal.networks.isEmpty
            ? ""
            : ", likely \(Setting.serviceNetworks.variable)=\(proposal.value): it has \(Wording.few(seen))"
        return finding(
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
                API server's --service-cluster-ip-range\(likely)
                """)
    }

    /// What pods call, and pods answer for, beside pods and services: as the slow path learns it.
    private static func fronts(
        _ flows: [TrackedFlow], _ addressPlan: AddressPlan
    ) -> Set<ServiceKey> {
        Set(flows.compactMap { FrontTable.front(of: $0, addressPlan) })
    }

    private static func crowded(
        _ given: String, _ fronts: Set<ServiceKey>, _ perhaps: String
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
                \(perhaps)
                """)
    }

    private static func perhaps(
        _ addresses: [IPAddress], _ addressPlan: AddressPlan, _ node: Examination
    ) -> String {
        let proposal = ServiceNetworkProposal(
            addresses, besides: addressPlan.podNetworks + node.networksWithout(addresses))
        return proposal.networks.isEmpty ? "" : ", perhaps \(proposal.value)"
    }

    private static func incomplete(
        _ given: String, _ missing: [IPAddress], _ perhaps: String
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
                \(perhaps): the API server's --service-cluster-ip-range has \
                that of services
                """)
    }
}
