import Netlink
import Settings

/// Checks whether connection tracking can be asked about calls to services.
enum TrackingCheck: DoctorCheck {
    static let id = "connection-tracking"
    static let title = "connection tracking"

    static func findings(_ node: Examination) -> [Finding] {
        guard let conntrack = node.conntrack else { return [] }
        guard node.settings.deduplicates else {
            return [ok("not needed, since every edge reports everything")]
        }
        if let failure = conntrack.failure {
            return [
                finding(
                    .warning, "unavailable: \(failure)", meaning: Tracking.loss,
                    remedy: Tracking.advice(failure))
            ]
        }
        let findings = [full(conntrack), silent(conntrack)].compactMap { $0 }
        return findings.isEmpty ? [ok("available\(flows(conntrack))")] : findings
    }

    private static func flows(_ conntrack: ConntrackState) -> String {
        guard let count = conntrack.count else { return "" }
        return "; \(count)\(conntrack.countMax.map { " of at most \($0)" } ?? "") flows"
    }

    private static func full(_ conntrack: ConntrackState) -> Finding? {
        guard let count = conntrack.count, let countMax = conntrack.countMax, countMax > 0,
            count >= countMax / 10 * 9
        else { return nil }
        return finding(
            .note, "nearly full: \(count) of at most \(countMax) flows",
            meaning: "when it is full the node drops packets of new flows, with or without podwire",
            remedy: "raise net.netfilter.nf_conntrack_max")
    }

    private static func silent(_ conntrack: ConntrackState) -> Finding? {
        guard conntrack.events == 0 else { return nil }
        return finding(
            .warning, "its events are off",
            meaning: """
                flows are looked up one by one, and those that end at once, such as refused ones, \
                are missed in the form that the backend sees
                """,
            remedy: "run `sysctl net.netfilter.nf_conntrack_events=1`")
    }
}
