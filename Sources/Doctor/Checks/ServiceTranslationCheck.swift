import Addressing
import Edges
import Formats
import Forwarding
import Netlink
import Settings

/// Checks whether the agent can know the backends of calls to services.
///
/// Connection tracking knows them where the kernel translates. Where Cilium translates packet by packet,
/// only its own tables do. What nobody knows is reported in both forms.
enum ServiceTranslationCheck: DoctorCheck {
    static let id = "service-translation"
    static let title = "service translation"

    /// The fewest unexplained calls that count, and the least share of all calls.
    private static let unexplainedCountMin: UInt64 = 10
    private static let unexplainedShareMin: UInt64 = 20

    static func findings(_ node: Examination) -> [Finding] {
        guard let cilium = node.ciliumTables else { return [] }
        guard node.settings.deduplicates, !node.settings.serviceNetworks.isEmpty else {
            return [ok("not needed")]
        }
        let findings =
            refused(cilium)
            + [unexplained(node, cilium), invisible(node, cilium)].compactMap { $0 }
        return findings.isEmpty ? [ok(sources(node, cilium))] : findings
    }

    private static func sources(
        _ node: Examination, _ cilium: [IPAddress.Family: CiliumTables.State]
    ) -> String {
        let families = IPAddress.Family.allCases.filter { cilium[$0] == .inUse }.map(\.name)
        guard families.isEmpty else {
            let names = families.joined(separator: " and ")
            return "Cilium's tables are asked for \(names), then connection tracking"
        }
        guard let folder = node.settings.capture.ciliumFolder else {
            return "connection tracking is asked; \(Setting.ciliumTables.option) is off"
        }
        return "connection tracking is asked; no table of Cilium's is in \(folder)"
    }

    private static func refused(_ cilium: [IPAddress.Family: CiliumTables.State]) -> [Finding] {
        IPAddress.Family.allCases.compactMap { family in
            guard case .refused(let reason, let remedy)? = cilium[family] else { return nil }
            return finding(
                .warning, "Cilium's tables for \(family.name) cannot be used: \(reason)",
                meaning: """
                    calls to services that Cilium translates packet by packet are reported twice, once \
                    in each form
                    """, remedy: remedy)
        }
    }

    /// What a running agent has seen of calls that nobody knew.
    private static func unexplained(
        _ node: Examination, _ cilium: [IPAddress.Family: CiliumTables.State]
    ) -> Finding? {
        guard let calls = node.serviceCalls, calls.unexplainedCount >= unexplainedCountMin,
            calls.unexplainedCount >= calls.count / unexplainedShareMin
        else { return nil }
        let found = """
            \(calls.unexplainedCount) of \(calls.count) calls to services since the agent's start were \
            unknown to connection tracking\(cilium.values.contains(.inUse) ? " and to Cilium's tables" : "")
            """
        guard !node.settings.capture.leavesOutUnexplained else {
            return finding(
                .note, found,
                meaning: """
                    the agent leaves them out: a call is missed if the client has the lower port or no \
                    pod is behind the service
                    """,
                remedy: "let the agent read Cilium's tables (k8s/components/cilium-services)")
        }
        return finding(
            .warning, found,
            meaning: "they are translated elsewhere, and the running agent reports them twice",
            remedy: remedy(node, cilium))
    }

    private static func remedy(
        _ node: Examination, _ cilium: [IPAddress.Family: CiliumTables.State]
    ) -> String {
        let otherwise = "\(Setting.services.option) untracked leaves them out"
        guard !cilium.values.contains(.inUse) else {
            return "restart the agent with these settings if it has others; \(otherwise)"
        }
        return """
            where Cilium runs, show the agent its tables with k8s/components/cilium-services (CAP_BPF, \
            /sys/fs/bpf, \(Setting.ciliumTables.option)); elsewhere \(otherwise)
            """
    }

    /// Cilium's device is here, and none of its tables.
    private static func invisible(
        _ node: Examination, _ cilium: [IPAddress.Family: CiliumTables.State]
    ) -> Finding? {
        guard node.node?.links.values.contains(where: { $0.name == "cilium_host" }) == true,
            !node.settings.capture.leavesOutUnexplained,
            cilium.values.allSatisfy({ $0 == .absent })
        else { return nil }
        return finding(
            .note, "Cilium runs here, and its tables cannot be seen",
            meaning: """
                unless Cilium translates calls to services when a pod's program connects (socket load \
                balancing), they are reported twice
                """,
            remedy: "take k8s/components/cilium-services, or see the documentation of data paths")
    }
}

extension IPAddress.Family {
    fileprivate var name: String { self == .ipv4 ? "IPv4" : "IPv6" }
}
