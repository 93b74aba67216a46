import Formats
import Linux
import Settings

/// Checks whether the container may have the memory that the send queues may use.
///
/// The agent's own memory is charged to the container, and most of it are its queues.
enum QueueMemoryCheck: DoctorCheck {
    static let id = "queue-memory"
    static let title = "queue memory"

    /// The memory beside the queues: some 5 MiB with 250 edges, and room for more.
    static let programByteCount = 16 << 20

    static func findings(_ node: Examination) -> [Finding] {
        let byteCount = node.settings.capture.queueByteCountMax
        let found = node.memoryOfCaptures(byteCount)
        guard let limit = node.memory.limitByteCount else {
            return [ok("\(found); the container has no limit")]
        }
        let limited = "the container's limit is \(ByteCount(UInt64(limit)).text)"
        let needed = byteCount * node.captureCount + programByteCount
        guard needed > limit else { return [ok("\(found); \(limited)")] }
        return [
            finding(
                .warning, "\(found), but \(limited)",
                meaning: "if receivers are slow the queues fill, and the kernel kills the agent",
                remedy: """
                    raise resources.limits.memory to \(ByteCount(UInt64(needed)).text) or more, or lower \
                    \(Setting.queueMemory.option); the rings do not count here
                    """)
        ]
    }
}

extension Examination {
    /// The most sessions at a time: one for each sensor and each client.
    var captureCount: Int {
        let clientCount = settings.passive == nil ? 0 : PassiveSettings.clientCountMax
        return max(1, settings.sensors.count + clientCount)
    }

    /// The memory that the queues of all sessions may have together, in words.
    func memoryOfCaptures(_ byteCount: Int) -> String {
        let each = "up to \(ByteCount(UInt64(byteCount)).text)"
        return captureCount == 1 ? each : "\(each) for each of \(captureCount) sessions"
    }
}
