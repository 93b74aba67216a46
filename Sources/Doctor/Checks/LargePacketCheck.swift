import Edges
import Formats
import Forwarding
import PacketRing
import Settings
import Time

/// Checks whether the rings can hold the largest packets that pods' devices may hand over.
///
/// Devices are set to packets above 64 KiB (BIG TCP) by the network plug-in or by hand. A ring then
/// needs larger blocks, and a packet that is larger than a block is lost.
enum LargePacketCheck: DoctorCheck {
    static let id = "large-packets"
    static let title = "large packets"

    static func findings(_ node: Examination) -> [Finding] {
        guard let edges = node.node?.edges, let largest = edges.map(\.frameByteCountMax).max()
        else { return [] }
        let found = "up to \(largest >> 10) KiB"
        let cut = edgesCut(edges, node.settings.capture.ringByteCountMax)
        guard !cut.isEmpty else { return [ok("\(found), which a ring's blocks hold")] }
        return [
            finding(
                .warning,
                """
                \(found), which do not fit the ring memory at \
                \(Wording.count(cut.count, "edge")): \(Wording.few(cut.map(\.name)))
                """,
                meaning: "packets that are larger than a block of their edge's ring are lost",
                remedy: """
                    raise \(Setting.ringMemory.option), or lower gso_max_size, gso_ipv4_max_size and \
                    gro_max_size of the veths and of the pods' devices
                    """)
        ]
    }

    /// The edges whose first rings would have too small blocks, or that would share a ring.
    private static func edgesCut(_ edges: [Edge], _ byteCountMax: Int) -> [Edge] {
        var budget = RingBudget(RingMemory(byteCountMax: byteCountMax))
        return edges.filter { edge in
            let shape = budget.takeFirst(holding: edge.frameByteCountMax, now: .zero)
            return !(shape ?? RingBudget.smallest).holds(frameOf: edge.frameByteCountMax)
        }
    }
}
