package import Formats
import Time

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
    /// The time since the agent has gone; nil if it captures, or its capture was ended in order.
    package let goneSeconds: Int64?

    /// The state for people: `"gone 5s"`.
    package var stateText: String {
        goneSeconds.map { "\(state) \(Duration.seconds($0).text)" } ?? state
    }

    /// A table for people, which has the link types only if they differ.
    package static func table(_ statistics: [Self], in window: Window) -> String {
        let hasLinkTypes = Set(statistics.map(\.linkType)).count > 1
        var table = Table(
            [.name("AGENT")] + (hasLinkTypes ? [.word("LINK TYPE", rank: 2)] : []) + [
                .number("PACKETS"), .number("BYTES", rank: 3), .number("PACKETS/S", rank: 1),
                .number("DROPPED", rank: 5), .number("LOST", rank: 4),
                .text("STATE", rank: 6, widthMin: 9),
            ])
        for source in statistics {
            let linkType = hasLinkTypes ? [Table.Cell(source.linkType)] : []
            table.append([Table.Cell(source.name)] + linkType + source.cells)
        }
        if statistics.count > 1 {
            func sum(_ count: KeyPath<Self, UInt64>) -> UInt64 {
                statistics.reduce(0) { $0 &+ $1[keyPath: count] }
            }
            table.total =
                (["total"] + (hasLinkTypes ? [""] : [])).map { Table.Cell($0) } + [
                    "\(sum(\.packetCount))", "\(ByteCount(sum(\.byteCount)))",
                    // They captured at other times, so their averages have no sum.
                    "", "\(sum(\.droppedCount))", "\(sum(\.lostPacketCount))", "",
                ]
        }
        return table.text(in: window)
    }

    /// The cells of its row behind its name.
    private var cells: [Table.Cell] {
        [
            "\(packetCount)", "\(ByteCount(byteCount))", "\(packetsPerSecond)",
            Table.Cell("\(droppedCount)", droppedCount > 0 ? .warning : .none),
            Table.Cell(lost, lost == "0" ? .none : .warning), Table.Cell(stateText),
        ]
    }

    /// Packets lost on the way, or datagrams if the packets have no numbers.
    var lost: String {
        Self.lostText(packetCount: lostPacketCount, datagramCount: lostDatagramCount)
    }

    static func lostText(packetCount: UInt64, datagramCount: UInt64) -> String {
        packetCount == 0 && datagramCount > 0
            ? Wording.count(Int(clamping: datagramCount), "datagram") : "\(packetCount)"
    }
}
