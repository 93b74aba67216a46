import Packets

/// Counts of one block's packets, or of a few others.
///
/// The shared counters are touched once for all of them. What is counted as queued may still find no
/// room in the queue of a session.
struct BlockCounts {
    var puntedCount = 0
    var refusedCount = 0
    /// Frames that the agent's selection leaves out: see `FlowSelection`.
    var flowSampledOutCount = 0
    var cutOffCount = 0
    /// Frames that another agent of the node forwards.
    var otherAgentCount = 0
    var filteredCount = 0
    var sampledOutCount = 0
    var limitedCount = 0
    var packetCount = 0
    /// Bytes of the packets put into the queue, including headers.
    var byteCount = 0
    var droppedCount = 0
    /// Frames that the block has cut.
    var cutCount = 0
    /// By how much segments outnumber frames, for each fate.
    private(set) var surplus = Surplus()
    var fragmentCount = 0
    var notHeldCount = 0
    var translatedCount = 0
    var unexplainedCount = 0
    var segmentedCount = 0
    var segmentCount = 0
    var finishedCount = 0
    var taggedCount = 0
    /// Requests by the raw value of `RequestMetric`.
    private var requestCounts = [9 of Int](repeating: 0)
    private var hasRequests = false
    var unrepairedCounts = [11 of Int](repeating: 0)
    private(set) var hasUnrepaired = false

    struct Surplus {
        var packetCount = 0
        var sampledOutCount = 0
        var limitedCount = 0
        var droppedCount = 0
    }

    /// Adds one frame's segments, all of which were queued.
    mutating func addSegments(count: Int, byteCount: Int) {
        packetCount += count
        self.byteCount += byteCount
        surplus.packetCount += count - 1
    }

    /// Adds one frame's segments, which are all that was counted since `before`.
    ///
    /// One segment stands for the frame; the rest are surplus.
    mutating func addSegments(since before: borrowing BlockCounts) {
        let queued = packetCount - before.packetCount
        let dropped = droppedCount - before.droppedCount
        let limited = limitedCount - before.limitedCount
        let sampledOut = sampledOutCount - before.sampledOutCount
        surplus.packetCount += queued
        surplus.droppedCount += dropped
        surplus.limitedCount += limited
        surplus.sampledOutCount += sampledOut
        if queued > 0 {
            surplus.packetCount -= 1
        } else if dropped > 0 {
            surplus.droppedCount -= 1
        } else if limited > 0 {
            surplus.limitedCount -= 1
        } else if sampledOut > 0 {
            surplus.sampledOutCount -= 1
        }
    }

    /// Adds what a frame's form repairs before the frame is sent.
    mutating func add(_ form: WireForm) {
        if form.tag != nil { taggedCount += 1 }
        switch form.repair {
        case .none: break
        case .checksum: finishedCount += 1
        case .segments(let count):
            segmentedCount += 1
            segmentCount += count
        case .impossible(let obstacle):
            hasUnrepaired = true
            unrepairedCounts[obstacle.rawValue] += 1
        }
    }

    mutating func record(_ metric: RequestMetric) {
        requestCounts[metric.rawValue] += 1
        hasRequests = true
    }

    /// The frames that were to be sent: each has a fate of its own in each session.
    private var reportedCount: Int {
        packetCount + sampledOutCount + limitedCount + droppedCount + filteredCount + cutCount
            - surplus.packetCount - surplus.sampledOutCount - surplus.limitedCount
            - surplus.droppedCount
    }

    /// Whether there is anything that a session counts itself.
    var hasReported: Bool { reportedCount != 0 }

    /// The counts if a queue has no room for any of the packets.
    var withoutRoom: Self {
        var counts = self
        counts.droppedCount += packetCount
        counts.surplus.droppedCount += surplus.packetCount
        (counts.packetCount, counts.surplus.packetCount, counts.byteCount) = (0, 0, 0)
        return counts
    }
}

/// What a capture counts once for all of its sessions.
extension BlockCounts {
    /// Adds to the counters of an edge, or of all edges; a reported frame counts as forwarded.
    func addShared(to frames: FrameCounters) {
        frames.add(reportedCount, to: .forwarded)
        frames.add(refusedCount, to: .refused)
        frames.add(flowSampledOutCount, to: .flowSampledOut)
        frames.add(cutOffCount, to: .cutOff)
        frames.add(otherAgentCount, to: .otherAgent)
        guard hasRequests else { return }
        for metric in RequestMetric.allCases {
            frames.record(metric, requestCounts[metric.rawValue])
        }
    }

    /// Adds everything that is common to the capture's counters.
    func addShared(to counters: CaptureCounters) {
        addShared(to: counters.frames)
        guard puntedCount + notHeldCount + translatedCount > 0 else { return }
        counters.add(puntedCount, to: .framesPunted)
        counters.add(fragmentCount, to: .fragments)
        counters.add(notHeldCount, to: .fragmentsNotHeld)
        counters.add(translatedCount, to: .framesTranslated)
        counters.add(unexplainedCount, to: .framesUnexplained)
    }
}

/// What each session counts itself.
extension BlockCounts {
    /// Adds the frames by fate to an edge's counters, or to those of all edges.
    func addOwn(to frames: FrameCounters) {
        frames.add(packetCount - surplus.packetCount, to: .forwarded)
        frames.add(filteredCount, to: .filtered)
        frames.add(sampledOutCount - surplus.sampledOutCount, to: .sampledOut)
        frames.add(limitedCount - surplus.limitedCount, to: .limited)
        frames.add(droppedCount - surplus.droppedCount, to: .droppedByQueue)
        frames.add(cutCount, to: .droppedByBlock)
    }

    /// Adds everything to the session's counters.
    func addOwn(to counters: CaptureCounters) {
        addOwn(to: counters.frames)
        counters.add(packetCount, to: .packetsQueued)
        counters.add(byteCount, to: .bytesQueued)
        counters.add(droppedCount, to: .packetsDroppedByQueue)
        counters.add(sampledOutCount, to: .packetsSampledOut)
        counters.add(limitedCount, to: .packetsLimited)
        counters.add(segmentedCount, to: .framesSegmented)
        counters.add(segmentCount, to: .segments)
        counters.add(finishedCount, to: .checksumsFinished)
        counters.add(taggedCount, to: .tagsRestored)
        guard hasUnrepaired else { return }
        for obstacle in WireForm.Obstacle.allCases {
            counters.add(unrepairedCounts[obstacle.rawValue], to: obstacle)
        }
    }

    /// Adds what another object has counted that each session counts itself.
    mutating func addOwn(_ other: borrowing BlockCounts) {
        filteredCount += other.filteredCount
        sampledOutCount += other.sampledOutCount
        limitedCount += other.limitedCount
        packetCount += other.packetCount
        byteCount += other.byteCount
        droppedCount += other.droppedCount
        cutCount += other.cutCount
        surplus.packetCount += other.surplus.packetCount
        surplus.sampledOutCount += other.surplus.sampledOutCount
        surplus.limitedCount += other.surplus.limitedCount
        surplus.droppedCount += other.surplus.droppedCount
        segmentedCount += other.segmentedCount
        segmentCount += other.segmentCount
        finishedCount += other.finishedCount
        taggedCount += other.taggedCount
        guard other.hasUnrepaired else { return }
        hasUnrepaired = true
        for index in unrepairedCounts.indices {
            unrepairedCounts[index] += other.unrepairedCounts[index]
        }
    }
}
