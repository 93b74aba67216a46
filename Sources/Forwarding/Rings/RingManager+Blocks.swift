import Edges
import Linux
import Log
import Logging
import PacketRing
import Settings
import Time

/// Blocks that are too small for the largest frames of an edge.
extension RingManager {
    /// Logs the first frame of an edge that a block has cut.
    ///
    /// Nothing announces such frames where the limits of a pod's devices cannot be read, or where
    /// they have just changed, since the kernel reports no change of them.
    func recordCut(_ incarnation: UInt64, _ byteCount: Int, _ table: inout RingTable) {
        let name: String
        if incarnation == SharedRing.incarnation {
            // There is no memory for a larger one, or the edges would not share it.
            name = SharedRing.name
            counters.add(1, to: .ringsTooSmall)
        } else if let slot = table.recordCut(incarnation, byteCount) {
            name = slot.edge.name
        } else {
            return
        }
        logger.error(
            """
            a packet was larger than a block of its edge's ring, so its end is missing and it is \
            dropped; larger blocks follow if \(Setting.ringMemory.option) allows them
            """,
            metadata: ["edge": "\(name)", "packet_bytes": .number(byteCount)])
    }

    /// Opens rings with larger blocks where the present ones are too small.
    func enlargeBlocks(_ table: inout RingTable) {
        let (changes, lacking) = table.takeLargerBlocks(now: .now)
        open(changes, &table)
        counters.add(lacking.count, to: .ringsTooSmall)
        for slot in lacking {
            logger.warning(
                """
                there is no memory for a ring that holds the edge's largest packets, which are \
                dropped; raise \(Setting.ringMemory.option)
                """,
                metadata: [
                    "edge": "\(slot.edge.name)", "packet_bytes": .number(slot.frameByteCountMax),
                    "ring_memory": .number(table.budget.byteCountMax),
                ])
        }
    }
}
