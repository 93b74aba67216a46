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

    /// Counts of an output that has had no packet.
    package init(kind: String, place: String) { (self.kind, self.place) = (kind, place) }

    /// Adds a reason, if it had packets.
    package mutating func addLoss(_ reason: String, _ packetCount: UInt64) {
        if packetCount > 0 { losses.append(Loss(reason, packetCount)) }
    }

    /// Packets that were not passed on.
    package var lostCount: UInt64 { losses.reduce(0) { $0 &+ $1.packetCount } }
}

/// Something about an output that a person has to be told.
package struct OutputNews: Equatable, Sendable {
    package let text: String
    package let values: [String: String]
    /// Whether something that was asked for has failed.
    package let isWarning: Bool
    /// Whether anybody who reaches a port can cause it, any number of times.
    package let isOfStrangers: Bool

    package init(
        _ text: String, _ values: [String: String], isWarning: Bool = false,
        isOfStrangers: Bool = false
    ) {
        (self.text, self.values) = (text, values)
        (self.isWarning, self.isOfStrangers) = (isWarning, isOfStrangers)
    }
}
