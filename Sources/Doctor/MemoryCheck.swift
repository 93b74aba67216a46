package import Settings
import Formats
package import Linux

/// Whether what the settings allow the agent to use is there.
///
/// The rings are the kernel's pages. They are not charged to the container (`alloc_pg_vec` of
/// af_packet.c asks for none of it), so its limit does not protect the node from them, nor can they
/// have the container killed. What the agent has itself is charged: its queues above all.
package struct MemoryCheck: Sendable {
    package let memory: Memory
    package let descriptorCountMax: Int?
    package let edgeCount: Int

    package init(memory: Memory, descriptorCountMax: Int?, edgeCount: Int) {
        self.memory = memory
        self.descriptorCountMax = descriptorCountMax
        self.edgeCount = edgeCount
    }

    /// What the program takes beside its queues: some 5 MiB with 250 edges, and room for more.
    package static let programByteCount = 16 << 20
    /// A ring, a hold on it that outlives it, and the larger one that takes its place.
    private static let descriptorCountPerEdge = 3
    /// Sockets of sessions, events, netlink, and files.
    private static let descriptorCountBeside = 64

    package func findings(_ settings: Settings) -> [Finding] {
        let clientCount = settings.passive == nil ? 0 : PassiveSettings.clientCountMax
        let captureCount = max(1, settings.sensors.count + clientCount)
        return [
            rings(settings.capture.ringByteCountMax, captureCount),
            queues(settings.capture.queueByteCountMax, captureCount), descriptors(captureCount),
        ]
    }

    private func rings(_ byteCount: Int, _ captureCount: Int) -> Finding {
        let found = "up to \(Self.product(byteCount, captureCount))"
        guard let available = memory.availableByteCount else {
            return .ok("ring memory", "\(found); how much the node has is not known")
        }
        let has = "the node has \(Wording.mebibytes(available)) to give"
        guard byteCount * captureCount > available else {
            return .ok("ring memory", "\(found); \(has)")
        }
        return Finding(
            .warning, "ring memory", "\(found), but \(has)",
            meaning: """
                rings grow with traffic, and are not counted against a container's limit: the node \
                itself could run out of memory
                """,
            remedy: "lower \(Setting.ringMemory.option), which is for each capture")
    }

    private func queues(_ byteCount: Int, _ captureCount: Int) -> Finding {
        let found = "up to \(Self.product(byteCount, captureCount))"
        guard let limit = memory.limitByteCount else {
            return .ok("queue memory", "\(found); the container has no limit")
        }
        let limited = "the container's limit is \(Wording.mebibytes(limit))"
        let needed = byteCount * captureCount + Self.programByteCount
        guard needed > limit else { return .ok("queue memory", "\(found); \(limited)") }
        return Finding(
            .warning, "queue memory", "\(found), but \(limited)",
            meaning:
                "when those who get packets are slow queues fill, and then the kernel kills the agent",
            remedy: """
                raise resources.limits.memory to \(Wording.mebibytes(needed)) or more, or lower \
                \(Setting.queueMemory.option); the rings do not count here
                """)
    }

    private func descriptors(_ captureCount: Int) -> Finding {
        let needed =
            edgeCount * captureCount * Self.descriptorCountPerEdge + Self.descriptorCountBeside
        guard let countMax = descriptorCountMax else { return .ok("descriptors", "any number") }
        guard needed > countMax else { return .ok("descriptors", "up to \(countMax)") }
        return Finding(
            .warning, "descriptors", "up to \(countMax), but \(needed) may be needed",
            meaning: "the rings of some edges cannot be opened, and what passes there is missed",
            remedy: "raise the runtime's limit of open files (LimitNOFILE=) for containers")
    }

    /// The memory of some captures, each of which has as much.
    private static func product(_ byteCount: Int, _ captureCount: Int) -> String {
        captureCount == 1
            ? Wording.mebibytes(byteCount)
            : "\(Wording.mebibytes(byteCount)) for each of \(captureCount) captures"
    }
}
