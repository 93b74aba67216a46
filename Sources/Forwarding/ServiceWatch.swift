import Addressing
import Log
import Logging
import Observation
import Settings
import Time

/// What the log says about the translation of calls to services.
///
/// It says when Cilium's tables are used or refused, and when many calls stay unexplained: then
/// something else translates them, and each of their packets is reported twice.
struct ServiceWatch {
    /// A line of the log.
    struct Notice {
        let level: Logger.Level
        let text: String
        var metadata: Logger.Metadata = [:]
    }

    private let folder: String?
    private let leavesOutUnexplained: Bool
    private var states: [IPAddress.Family: CiliumTables.State] = [:]
    /// The counts when the present window began.
    private var before = CallCounts()
    private var windowEndsAt = MonotonicTime.zero
    private var mayWarnAt = MonotonicTime.zero

    /// The time for which calls are counted together.
    private static let windowTime = Duration.seconds(60)
    /// The least time between two warnings of one capture.
    private static let warningInterval = Duration.seconds(3600)
    /// The fewest unexplained calls of a window that are worth a line, and their least share.
    private static let countMin: UInt64 = 10
    private static let shareMin: UInt64 = 20

    init(_ settings: CaptureSettings) {
        folder = settings.ciliumFolder
        leavesOutUnexplained = settings.leavesOutUnexplained
    }

    /// Finds what is to be logged now.
    ///
    /// - Parameters:
    ///   - changes: The families whose tables of Cilium have another state now, with that.
    ///   - counts: The calls to services so far.
    ///   - now: The time now.
    /// - Returns: The lines that are due.
    mutating func notices(
        _ changes: [(IPAddress.Family, CiliumTables.State)], _ counts: CallCounts,
        now: MonotonicTime
    ) -> [Notice] {
        var notices: [Notice] = []
        for (family, state) in changes {
            states[family] = state
            notices.append(notice(family, state))
        }
        if let warning = warning(counts, now) { notices.append(warning) }
        return notices
    }

    private func notice(_ family: IPAddress.Family, _ state: CiliumTables.State) -> Notice {
        var metadata: Logger.Metadata = [
            "family": family == .ipv4 ? "IPv4" : "IPv6", "folder": "\(folder ?? "")",
        ]
        switch state {
        case .inUse:
            return Notice(
                level: .info, text: "calls to services are looked up in Cilium's tables",
                metadata: metadata)
        case .absent:
            return Notice(
                level: .notice,
                text: "Cilium's tables are gone, connection tracking is asked alone",
                metadata: metadata)
        case .refused(let reason, let remedy):
            metadata["reason"] = "\(reason)"
            return Notice(
                level: .warning,
                text: """
                    Cilium's tables cannot be used, so calls to services that it translates packet \
                    by packet are reported twice: \(remedy)
                    """, metadata: metadata)
        }
    }

    private mutating func warning(_ counts: CallCounts, _ now: MonotonicTime) -> Notice? {
        if now >= windowEndsAt {
            windowEndsAt = now + Self.windowTime
            before = counts
        }
        let unexplained = counts.unexplainedCount - before.unexplainedCount
        let all = counts.count - before.count
        guard !leavesOutUnexplained, now >= mayWarnAt, unexplained >= Self.countMin,
            unexplained * Self.shareMin >= all
        else { return nil }
        mayWarnAt = now + Self.warningInterval
        return Notice(
            level: .warning,
            text: """
                \(unexplained) of \(all) calls to services are unknown to connection tracking: they \
                are translated elsewhere and reported twice; \(remedy)
                """)
    }

    private var remedy: String {
        if case .refused(_, let remedy) = states.values.first(where: \.isRefused) { return remedy }
        let otherwise = "\(Setting.services.option) untracked leaves them out"
        guard let folder else {
            return
                "if Cilium runs here, name its folder with \(Setting.ciliumTables.option); \(otherwise)"
        }
        guard !states.values.contains(.inUse) else {
            return "Cilium's tables do not have them either; \(otherwise)"
        }
        return """
            no table of Cilium's is in \(folder): if Cilium runs here, take \
            k8s/components/cilium-services; otherwise \(otherwise)
            """
    }
}

extension CiliumTables.State {
    fileprivate var isRefused: Bool {
        if case .refused = self { true } else { false }
    }
}
