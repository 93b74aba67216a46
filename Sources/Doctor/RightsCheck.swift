import Settings
import Netlink
package import Linux

/// What the agent's process may do.
package struct RightsCheck: Sendable {
    package let held: Set<Capability>
    /// Whether it is root in its container: in Kubernetes nobody else is given capabilities.
    package let isRoot: Bool

    package init(held: Set<Capability>, isRoot: Bool) {
        (self.held, self.isRoot) = (held, isRoot)
    }

    package static var current: Self {
        let all: [Capability] = [.netRaw, .netAdmin, .netBroadcast]
        return Self(held: Set(all.filter(\.isHeld)), isRoot: isSuperuser())
    }

    package var findings: [Finding] {
        var findings: [Finding] = []
        if !held.contains(.netRaw) {
            findings.append(
                missing(.failed, .netRaw, "the agent cannot capture, and exits with 77"))
        }
        if !held.contains(.netAdmin) {
            findings.append(
                missing(
                    .warning, .netAdmin,
                    """
                    the pods' own addresses are not known, so flooded frames may be reported twice; \
                    and connection tracking cannot be asked, so \(Tracking.loss)
                    """))
        }
        if !held.contains(.netBroadcast), held.contains(.netAdmin) {
            findings.append(
                missing(
                    .note, .netBroadcast,
                    """
                    addresses that change inside a pod are noticed within half a minute, instead of \
                    at once
                    """))
        }
        if held.contains(.netRaw), held.contains(.netAdmin) {
            findings.insert(.ok(Self.name, "CAP_NET_RAW and CAP_NET_ADMIN"), at: 0)
        }
        return findings
    }

    private func missing(_ grade: Finding.Grade, _ capability: Capability, _ meaning: String)
        -> Finding
    {
        let root =
            isRoot
            ? ""
            : """
            , and let it run as root there (runAsUser: 0), with all others dropped: Kubernetes gives \
            capabilities to root alone
            """
        return Finding(
            grade, Self.name, "\(capability.name) is missing", meaning: meaning,
            remedy:
                "add \(capability.name.dropFirst(4)) under the container's securityContext.capabilities\(root)"
        )
    }

    private static let name = "capabilities"
}

extension ThreadPlacement {
    /// Whether the threads that forward can run as they are to.
    func finding() -> Finding? {
        guard processors != nil || niceness != nil else { return nil }
        let wanted = [
            processors.map { "CPUs \($0)" }, niceness.map { "niceness \($0)" },
        ].compactMap { $0 }.joined(separator: ", ")
        do throws(Failure) {
            try check()
            return .ok("threads", wanted)
        } catch {
            return Finding(
                .failed, "threads", "\(wanted) cannot be had",
                meaning: "the agent does not start", remedy: "\(error)")
        }
    }
}
