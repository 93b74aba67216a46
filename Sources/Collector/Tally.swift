import CaptureFiles
import Formats

/// What one device of one agent has delivered, over all its sessions. It belongs to the collector's
/// thread.
final class Tally {
    let name: String
    let description: String
    let linkType: UInt16
    /// When it was first heard of, in nanoseconds since 1970.
    let start: UInt64
    var counts = InterfaceCounts()
    /// Bytes of frames.
    var byteCount: UInt64 = 0
    /// Datagrams that never came, packets that never came, and datagrams that made no sense.
    var lostDatagrams: UInt64 = 0
    var lostPackets: UInt64 = 0
    var notUnderstood: UInt64 = 0
    /// Datagrams that came to the agent's port from somebody else.
    var strangers: UInt64 = 0
    /// For people.
    var state = "capturing"
    /// Nanoseconds that its sessions have captured for, those that have ended.
    var pastNanoseconds: UInt64 = 0
    /// When the session that captures now began to, by the monotonic clock.
    var capturingSince: UInt64?
    /// Whether it has captured in the time of the file being written.
    var isInFile = false
    /// The number that the file being written knows it by, once it has packets there.
    var interface: Int?
    /// The counts when that file was begun.
    var countsBefore = InterfaceCounts()

    init(name: String, description: String, linkType: UInt16, start: UInt64) {
        (self.name, self.description, self.linkType) = (name, description, linkType)
        self.start = start
    }

    /// Adds the difference of two readings of a session's datagrams; fewer packets can be lost than
    /// before, when one comes late.
    func add(lostDatagrams: UInt64, lostPackets: UInt64, notUnderstood: UInt64) {
        self.lostDatagrams &+= lostDatagrams
        self.lostPackets &+= lostPackets
        self.notUnderstood &+= notUnderstood
    }

    func end(_ state: String, now: UInt64) {
        self.state = state
        if let since = capturingSince { pastNanoseconds += now - since }
        capturingSince = nil
    }

    func report(now: UInt64) -> AgentReport {
        let nanoseconds = pastNanoseconds + (capturingSince.map { now - $0 } ?? 0)
        let milliseconds = max(1, nanoseconds / 1_000_000)
        return AgentReport(
            name: name, packetCount: counts.delivered, byteCount: byteCount,
            packetsPerSecond: counts.delivered &* 1000 / milliseconds,
            droppedCount: counts.droppedByKernel &+ counts.droppedByInterface,
            lostDatagramCount: lostDatagrams, lostPacketCount: lostPackets,
            notUnderstoodCount: notUnderstood, strangerCount: strangers, state: state)
    }
}

/// What a person or a program is told about one agent.
package struct AgentReport: Equatable, Sendable {
    /// The device, and the host that it is on.
    package let name: String
    package let packetCount: UInt64
    /// Bytes of frames.
    package let byteCount: UInt64
    /// On average, while it captured.
    package let packetsPerSecond: UInt64
    /// Packets that the agent dropped, by its own statistics.
    package let droppedCount: UInt64
    /// Lost on the way, which only datagrams can get.
    package let lostDatagramCount: UInt64
    package let lostPacketCount: UInt64
    package let notUnderstoodCount: UInt64
    /// Datagrams from somebody else.
    package let strangerCount: UInt64
    package let state: String

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

    /// Packets lost on the way. A stream whose packets have no numbers shows its datagrams.
    var lost: String {
        lostPacketCount == 0 && lostDatagramCount > 0
            ? "\(lostDatagramCount) datagrams" : "\(lostPacketCount)"
    }
}
