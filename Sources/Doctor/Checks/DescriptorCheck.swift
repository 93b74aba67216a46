import Edges
import Settings

/// Checks whether the process may open as many files as it may need.
enum DescriptorCheck: DoctorCheck {
    static let id = "descriptors"
    static let title = "descriptors"

    /// A ring, a hold on it that outlives it, and the larger one that takes its place.
    private static let countPerEdge = 3
    /// The sockets of sessions, events, netlink, and files.
    private static let countBeside = 64

    static func findings(_ node: Examination) -> [Finding] {
        guard let countMax = node.descriptorCountMax else { return [ok("any number")] }
        let edgeCount = node.node?.capturedVeths.count ?? 0
        let needed = edgeCount * node.captureCount * countPerEdge + countBeside
        guard needed > countMax else { return [ok("up to \(countMax) open files")] }
        return [
            finding(
                .warning, "up to \(countMax) open files, but \(needed) may be needed",
                meaning: "the rings of some edges cannot be opened, and their packets are missed",
                remedy: "raise the runtime's limit of open files (LimitNOFILE=) for containers")
        ]
    }
}
