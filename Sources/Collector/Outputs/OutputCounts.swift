package import Formats
package import Logging

/// What an output has done with the packets that it was given.
package struct OutputCounts: Equatable, Sendable {
    /// What it is in a word: `"file"`, `"serve"`, `"push"`.
    package let kind: String
    /// Where packets go: a path, an address, a name.
    package let place: String
    /// Packets that were passed on, and their bytes in the form in which they were.
    package var packetCount: UInt64 = 0
    package var byteCount: UInt64 = 0
    /// Packets that were not, by reasons, which are few and fixed texts.
    package var losses: [Loss] = []

    /// Packets that an output has lost or refused for one reason.
    package struct Loss: Equatable, Sendable {
        package let reason: String
        package let packetCount: UInt64

        /// A reason and its packets.
        package init(_ reason: String, _ packetCount: UInt64) {
            (self.reason, self.packetCount) = (reason, packetCount)
        }
    }

    /// The readers, for an output that has some.
    package var readers: Readers?

    /// The readers of an output.
    package struct Readers: Equatable, Sendable {
        /// Readers that are connected.
        package let present: Int
        /// Readers that have connected, and readers that were refused.
        package let connected: UInt64
        package let refused: UInt64
    }

    /// Counts of an output that has had no packet.
    package init(kind: String, place: String) { (self.kind, self.place) = (kind, place) }

    /// Adds a reason, if it had packets.
    package mutating func addLoss(_ reason: String, _ packetCount: UInt64) {
        if packetCount > 0 { losses.append(Loss(reason, packetCount)) }
    }

    /// Packets that were not passed on.
    package var lostCount: UInt64 { losses.reduce(0) { $0 &+ $1.packetCount } }

    private static let columns: [Table.Column] = [
        .word("OUTPUT", rank: 1), .name("WHERE", widthMin: 16), .number("PACKETS"),
        .number("BYTES", rank: 2), .number("LOST", rank: 3), .sentence("NOTES"),
    ]

    /// A table for people.
    package static func table(_ counts: [Self], in window: Window) -> String {
        let rows = counts.map { output in
            let losses = output.losses.map { "\($0.reason): \($0.packetCount)" }
            let readers = output.readers.map {
                "\(Wording.count($0.present, "reader")), \($0.connected) in all, "
                    + "\($0.refused) refused"
            }
            let cells = [
                output.kind, output.place, "\(output.packetCount)",
                "\(ByteCount(output.byteCount))",
            ].map { Table.Cell($0) }
            return cells + [
                Table.Cell("\(output.lostCount)", output.lostCount > 0 ? .warning : .none),
                Table.Cell((losses + [readers].compactMap(\.self)).joined(separator: "; ")),
            ]
        }
        return Table(columns, rows).text(in: window)
    }
}

/// Something about an output that a person has to be told.
package struct OutputNews: Equatable, Sendable {
    package let text: String
    package let values: Logger.Metadata
    /// Whether something that was asked for has failed.
    package let isWarning: Bool
    /// Whether anybody who reaches a port can cause it, any number of times.
    package let isOfStrangers: Bool

    package init(
        _ text: String, _ values: Logger.Metadata, isWarning: Bool = false,
        isOfStrangers: Bool = false
    ) {
        (self.text, self.values) = (text, values)
        (self.isWarning, self.isOfStrangers) = (isWarning, isOfStrangers)
    }
}
