import Formats
import Linux
import Settings

/// Checks whether the node has the memory that the rings may use.
///
/// The rings are the kernel's pages. The kernel does not charge them to the container (`alloc_pg_vec`
/// of af_packet.c asks for no charge), so the container's limit neither protects the node from them
/// nor gets the container killed for them.
enum RingMemoryCheck: DoctorCheck {
    static let id = "ring-memory"
    static let title = "ring memory"

    static func findings(_ node: Examination) -> [Finding] {
        let byteCount = node.settings.capture.ringByteCountMax
        let found = "up to \(ByteCount(UInt64(byteCount)).text)"
        guard let available = node.memory.availableByteCount else {
            return [ok("\(found); how much the node has is not known")]
        }
        let has = "the node has \(ByteCount(UInt64(available)).text) available"
        guard byteCount > available else { return [ok("\(found); \(has)")] }
        return [
            finding(
                .warning, "\(found), but \(has)",
                meaning: """
                    rings grow with traffic and are not counted against a container's limit, so the \
                    node itself could run out of memory
                    """,
                remedy: "lower \(Setting.ringMemory.option)")
        ]
    }
}
