import Linux
import Netlink

/// Checks which capabilities the process has.
enum CapabilityCheck: DoctorCheck {
    static let id = "capabilities"
    static let title = "capabilities"

    static func findings(_ node: Examination) -> [Finding] {
        let held = node.capabilities
        var findings: [Finding] = []
        if held.isSuperset(of: [.netRaw, .netAdmin]) {
            let count = node.spareCapabilityCount
            let spare = count == 0 ? "" : "; the agent gives up \(count) others that it was given"
            findings.append(ok("CAP_NET_RAW and CAP_NET_ADMIN\(spare)"))
        }
        if !held.contains(.netRaw) {
            findings.append(
                missing(.netRaw, .failed, node, "the agent cannot capture, and exits with 77"))
        }
        if !held.contains(.netAdmin) {
            findings.append(
                missing(
                    .netAdmin, .warning, node,
                    """
                    the pods' own addresses are not known, so flooded frames may be reported twice; \
                    connection tracking is unavailable, so \(Tracking.loss)
                    """))
        }
        if !held.contains(.netBroadcast), held.contains(.netAdmin) {
            findings.append(
                missing(
                    .netBroadcast, .note, node,
                    "a change of addresses inside a pod is seen within half a minute, not at once"))
        }
        return findings
    }

    private static func missing(
        _ capability: Capability, _ grade: Finding.Grade, _ node: Examination, _ meaning: String
    ) -> Finding {
        let name = capability.name.dropFirst("CAP_".count)
        let root = """
            , and run the agent as root (runAsUser: 0) with all other capabilities dropped: \
            Kubernetes gives capabilities to root alone
            """
        let advice = adviceOnCapability(
            inKubernetes: """
                add \(name) under the container's securityContext.capabilities\
                \(node.isRoot ? "" : root)
                """, isRoot: node.isRoot, isInKubernetes: node.isInKubernetes)
        return finding(
            grade, "\(capability.name) is missing", meaning: meaning,
            remedy: capability == .netBroadcast
                ? "nothing: k8s/podwire.yaml does without; to see it at once, \(advice)" : advice)
    }
}
