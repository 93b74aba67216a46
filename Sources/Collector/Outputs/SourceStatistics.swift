import Formats

/// The statistics of one device of one agent, for a person or a program.
package struct SourceStatistics: Equatable, Sendable {
    /// The device and its host.
    package let name: String
    /// The name of its link type: `"EN10MB"`.
    package let linkType: String
    package let packetCount: UInt64
    /// Bytes of frames.
    package let byteCount: UInt64
    /// The average while it captured.
    package let packetsPerSecond: UInt64
    /// Packets that the agent dropped, by its own statistics.
    package let droppedCount: UInt64
    /// Datagrams and packets that were lost on the way, which happens to datagrams only.
    package let lostDatagramCount: UInt64
    package let lostPacketCount: UInt64
    /// Datagrams that made no sense.
    package let notUnderstoodCount: UInt64
    /// Datagrams that another host sent to the agent's port.
    package let strangerCount: UInt64
    /// Whether it captures, or how its last session ended.
    package let state: String

    /// A table for people, which has the link types only if they differ.
    package static func table(_ statistics: [Self]) -> String {
        let hasLinkTypes = Set(statistics.map(\.linkType)).count > 1
        let head =
            ["AGENT"] + (hasLinkTypes ? ["LINK TYPE"] : [])
            + ["PACKETS", "BYTES", "PACKETS/S", "DROPPED", "LOST", "STATE"]
        let rows = statistics.map { source in
            [source.name] + (hasLinkTypes ? [source.linkType] : []) + [
                "\(source.packetCount)", "\(ByteCount(source.byteCount))",
                "\(source.packetsPerSecond)", "\(source.droppedCount)", source.lost, source.state,
            ]
        }
        return Columns.text(head, rows)
    }

    /// Packets lost on the way, or datagrams if the packets have no numbers.
    var lost: String {
        lostPacketCount == 0 && lostDatagramCount > 0
            ? Wording.count(Int(clamping: lostDatagramCount), "datagram") : "\(lostPacketCount)"
    }
}
