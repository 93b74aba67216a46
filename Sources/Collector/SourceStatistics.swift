import Formats

/// The statistics of one device of one agent, for a person or a program.
package struct SourceStatistics: Equatable, Sendable {
    /// The device and its host.
    package let name: String
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

    /// The titles of a table's columns.
    package static let head = [
        "AGENT", "PACKETS", "BYTES", "PACKETS/S", "DROPPED", "LOST", "STATE",
    ]

    /// A line of a table under `head`.
    package var row: [String] {
        [
            name, "\(packetCount)", "\(ByteCount(byteCount))", "\(packetsPerSecond)",
            "\(droppedCount)", lost, state,
        ]
    }

    /// Packets lost on the way, or datagrams if the packets have no numbers.
    var lost: String {
        lostPacketCount == 0 && lostDatagramCount > 0
            ? "\(lostDatagramCount) datagrams" : "\(lostPacketCount)"
    }
}
