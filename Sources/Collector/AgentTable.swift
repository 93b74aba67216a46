import Formats

/// A table of the agents of a running collector, as a terminal shows it.
struct AgentTable {
    /// The rows, in the order in which they are shown.
    var rows: [Row] = []

    /// What is shown of an agent.
    struct Row: Equatable, Sendable {
        /// Where it dialled from, or what was dialled.
        let agent: String
        /// The device that is captured from; empty if none is.
        var device = ""
        /// What it does, in words.
        let state: String
        /// Whether packets are coming, or can.
        var isWell = true
        /// What has come; nil for an agent that has not captured yet.
        var counts: Counts?
        /// For how long it has been in this session; empty if there is none.
        var age = ""
    }

    /// What has come from an agent, and what has not.
    struct Counts: Equatable, Sendable {
        var packetCount: UInt64 = 0
        /// Packets and bytes of the last second.
        var packetsPerSecond: UInt64 = 0
        var bytesPerSecond: UInt64 = 0
        /// Packets that the agent has dropped.
        var droppedCount: UInt64 = 0
        /// Packets that were lost on the way, or datagrams if nobody knows of how many packets.
        var lostPacketCount: UInt64 = 0
        var lostDatagramCount: UInt64 = 0

        fileprivate static func + (one: Self, other: Self) -> Self {
            var sum = one
            sum.packetCount &+= other.packetCount
            sum.packetsPerSecond &+= other.packetsPerSecond
            sum.bytesPerSecond &+= other.bytesPerSecond
            sum.droppedCount &+= other.droppedCount
            sum.lostPacketCount &+= other.lostPacketCount
            sum.lostDatagramCount &+= other.lostDatagramCount
            return sum
        }
    }

    /// The columns; what was dropped or lost is missed most where there is some.
    private var columns: [Table.Column] {
        let counts = rows.compactMap(\.counts)
        let hasDropped = counts.contains { $0.droppedCount > 0 }
        let hasLost = counts.contains { $0.lostPacketCount > 0 || $0.lostDatagramCount > 0 }
        return [
            .name("AGENT"), .name("DEVICE", rank: 3, widthMin: 12), .text("STATE", widthMin: 24),
            .number("PACKETS", rank: 7), .number("PACKETS/S", rank: 4),
            .number("BYTES/S", rank: 2), .number("DROPPED", rank: hasDropped ? 9 : 6),
            .number("LOST", rank: hasLost ? 8 : 5), .number("SINCE", rank: 1),
        ]
    }

    /// The lines of the table; see `Table.text`.
    func text(in window: Window, lineCountMax: Int?) -> String {
        var table = Table(columns, rows.map(Self.cells))
        if rows.count > 1 {
            let sum = rows.compactMap(\.counts).reduce(Counts(), +)
            table.total = ["total", "", ""] + Self.cells(sum) + [""]
        }
        return table.text(in: window, lineCountMax: lineCountMax)
    }

    private static func cells(_ row: Row) -> [Table.Cell] {
        [
            Table.Cell(row.agent), Table.Cell(row.device),
            Table.Cell(row.state, row.isWell ? .none : .warning),
        ] + cells(row.counts) + [Table.Cell(row.age)]
    }

    private static func cells(_ counts: Counts?) -> [Table.Cell] {
        guard let counts else { return Array(repeating: "", count: 5) }
        let lost = SourceStatistics.lostText(
            packetCount: counts.lostPacketCount, datagramCount: counts.lostDatagramCount)
        return [
            "\(counts.packetCount)", "\(counts.packetsPerSecond)",
            "\(ByteCount(counts.bytesPerSecond))",
            Table.Cell("\(counts.droppedCount)", counts.droppedCount > 0 ? .warning : .none),
            Table.Cell(lost, lost == "0" ? .none : .warning),
        ]
    }
}
