package import CaptureFiles
import Linux
package import RPCAP
package import Time

/// The counters of one device of one agent, over all its sessions.
///
/// They belong to the collector's thread.
package final class SourceCounters {
    /// The device and its host.
    package let name: String
    /// What its interface is called in the files that are begun from now on.
    package private(set) var description: String
    package let linkType: UInt16
    /// What it has in common with others of the same device and host.
    let presence: DevicePresence
    /// When the device was first heard of, in nanoseconds since 1970.
    let start: UInt64
    /// The agent's own counts, and the packets that have arrived.
    private(set) var counts = InterfaceCounts()
    /// Bytes of frames.
    package private(set) var byteCount: UInt64 = 0
    private var lostDatagrams: UInt64 = 0
    private var lostPackets: UInt64 = 0
    /// Datagrams that made no sense.
    private var notUnderstood: UInt64 = 0
    /// Datagrams that came to the agent's port from another host.
    var strangers: UInt64 = 0
    private(set) var state = State.capturing
    /// The agent that captures, or has captured last, and its device, for people.
    private(set) var agent = ""
    private(set) var device = ""
    /// When the last session ended; nil while one captures.
    private(set) var endedAt: MonotonicTime?
    /// The time for which its sessions have captured that have ended.
    private var pastTime = Duration.zero
    /// When the session that captures now began to capture.
    private var capturingSince: MonotonicTime?
    /// Whether it has captured in the time of the current file.
    var isInFile = false
    /// Its number in the current file, once it has packets there.
    var interface: Int?
    /// Its section and its number there in the stream that readers get, once it is described there.
    var place: (generation: Int, number: Int)?
    /// Its number where packets are put in order, once it has some.
    var lane: UInt32?
    /// Packets that have arrived, and wait for earlier ones before they are recorded.
    var waitingCount: UInt64 = 0
    /// Whether it is no longer among those that have been captured from.
    var isForgotten = false
    /// When it may capture again.
    private var restEnd = MonotonicTime.zero
    /// The counts when the current file was begun.
    private var countsBefore = InterfaceCounts()
    /// Its packets in the current file.
    var fileCount: UInt64 = 0
    /// What is missing between two sessions, until the first packet has come behind it.
    private var pause: (from: UInt64, to: UInt64)?
    /// What the file says of a gap, with the first packet behind it.
    private var gapText = ""
    /// The time stamp of that packet.
    private var gapStamp = noStamp

    private static let noStamp = UInt64.max

    /// The state of its last session.
    package enum State: String {
        case capturing
        /// The capture was ended in order, or another session of the agent has gone on.
        case ended
        /// The session ended before the capture, and nothing is captured from then on.
        case gone
    }

    /// Counters of a device that has no others.
    package convenience init(name: String, description: String, linkType: UInt16, start: UInt64) {
        self.init(
            name: name, description: description, start: start,
            DevicePresence(name: name, linkType: linkType))
    }

    init(name: String, description: String, start: UInt64, _ presence: DevicePresence) {
        (self.name, self.description, self.start) = (name, description, start)
        (self.presence, linkType) = (presence, presence.linkType)
    }

    /// Calls it otherwise: an edge may have another pod by now, or its pod another address.
    func describe(_ description: String) { self.description = description }

    /// Counts a packet that has arrived.
    package func add(_ frame: RawSpan) {
        counts.delivered += 1
        byteCount += UInt64(frame.byteCount)
    }

    /// Takes back a packet that has arrived, as it is not wanted any more.
    func leaveOut(_ frame: RawSpan) {
        counts.delivered &-= 1
        byteCount &-= UInt64(frame.byteCount)
    }

    /// Counts what a session's datagrams show since an earlier reading.
    ///
    /// A packet that comes late is no longer lost, so a difference can be negative.
    package func add(_ datagrams: DatagramReader.Counts, since earlier: DatagramReader.Counts) {
        lostDatagrams &+= datagrams.lostDatagrams &- earlier.lostDatagrams
        lostPackets &+= datagrams.lostPackets &- earlier.lostPackets
        notUnderstood &+= datagrams.notUnderstood &- earlier.notUnderstood
    }

    /// Counts what an agent reports since an earlier report of the same session, modulo 2^32.
    ///
    /// A count that goes back, which is more than half of 2^32 ahead, has begun again. What it was
    /// when it did is not known, so that adds nothing.
    package func add(_ statistics: CaptureStatistics, since earlier: CaptureStatistics) {
        func difference(_ count: KeyPath<CaptureStatistics, UInt32>) -> UInt64 {
            let difference = statistics[keyPath: count] &- earlier[keyPath: count]
            return difference > UInt32(1) << 31 ? 0 : UInt64(difference)
        }
        counts.received &+= difference(\.received)
        counts.droppedByInterface &+= difference(\.droppedByInterface)
        counts.droppedByKernel &+= difference(\.droppedByKernel)
    }

    /// Whether nothing is going to need its counts: its session is over, and so is its file.
    func isForgettable(withFile: Bool) -> Bool {
        capturingSince == nil && waitingCount == 0 && !(withFile && isInFile)
    }

    /// Records who captures.
    func describe(agent: String, device: String) { (self.agent, self.device) = (agent, device) }

    /// Begins a session, unless another one of the same device captures already.
    package func begin(now: MonotonicTime) {
        (state, endedAt) = (.capturing, nil)
        isInFile = true
        guard capturingSince == nil else { return }
        pause = presence.begin() ?? pause
        capturingSince = now
    }

    /// Has the device capture nothing until a time.
    func rest(until time: MonotonicTime) { restEnd = time }

    func rests(now: MonotonicTime) -> Bool { now < restEnd }

    /// Ends the last session of the device.
    package func end(_ state: State, now: MonotonicTime) {
        self.state = state
        if let since = capturingSince {
            pastTime += now - since
            presence.end()
        }
        endedAt = now
        capturingSince = nil
    }

    /// Records the time stamp of a packet that has arrived: the first one of a session ends a gap.
    package func noteArrival(_ nanoseconds: UInt64) {
        guard let pause else { return }
        self.pause = nil
        let milliseconds = (pause.to - min(pause.from, pause.to)) / 1_000_000
        gapText =
            "podwire: nothing was captured here for \(milliseconds) ms before this packet: the agent was "
            + "gone from \(TimeStamp.text(nanoseconds: pause.from)) "
            + "to \(TimeStamp.text(nanoseconds: pause.to))"
        gapStamp = nanoseconds
    }

    /// Takes what the file says of a gap that ends with a packet of a time stamp; nil if none does.
    func takeGap(before nanoseconds: UInt64) -> String? {
        guard nanoseconds == gapStamp else { return nil }
        gapStamp = Self.noStamp
        return gapText
    }

    /// Counts for a new file from now on.
    ///
    /// What has not been recorded yet will be in that file.
    package func beginFile() {
        interface = nil
        isInFile = capturingSince != nil || waitingCount > 0
        countsBefore = counts
        fileCount = 0
    }

    /// The counts since the current file was begun.
    ///
    /// The agent's own count is that of its last report, and some packets have come since.
    package var countsInFile: InterfaceCounts {
        var counts = counts.since(countsBefore)
        counts.delivered = fileCount
        counts.received = max(counts.received, fileCount)
        return counts
    }

    /// The statistics up to now.
    package func statistics(now: MonotonicTime) -> SourceStatistics {
        let time = pastTime + (capturingSince.map { now - $0 } ?? .zero)
        let milliseconds = UInt64(max(1, time.clampedNanoseconds / 1_000_000))
        return SourceStatistics(
            name: name, linkType: LinkTypeName.text(linkType), packetCount: counts.delivered,
            byteCount: byteCount,
            packetsPerSecond: counts.delivered &* 1000 / milliseconds,
            droppedCount: counts.droppedByKernel &+ counts.droppedByInterface,
            lostDatagramCount: lostDatagrams, lostPacketCount: lostPackets,
            notUnderstoodCount: notUnderstood, strangerCount: strangers, state: state.rawValue,
            goneSeconds: state == .gone ? endedAt.map { (now - $0).components.seconds } : nil)
    }
}
