import Packets

/// Counts of one block's packets.
///
/// The shared counters are touched once for all of them.
struct BlockCounts {
    var puntedCount = 0
    var refusedCount = 0
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

    /// Adds the frames by fate to an edge's counters, or to a capture's.
    func add(to frames: FrameCounters) {
        frames.add(packetCount - surplus.packetCount, to: .forwarded)
        frames.add(refusedCount, to: .refused)
        frames.add(filteredCount, to: .filtered)
        frames.add(sampledOutCount - surplus.sampledOutCount, to: .sampledOut)
        frames.add(limitedCount - surplus.limitedCount, to: .limited)
        frames.add(droppedCount - surplus.droppedCount, to: .droppedByQueue)
        frames.add(cutCount, to: .droppedByBlock)
        guard hasRequests else { return }
        for metric in RequestMetric.allCases {
            frames.record(metric, requestCounts[metric.rawValue])
        }
    }

    /// Adds everything to the capture's counters.
    func add(to counters: CaptureCounters) {
        add(to: counters.frames)
        counters.add(packetCount, to: .packetsQueued)
        counters.add(byteCount, to: .bytesQueued)
        counters.add(droppedCount, to: .packetsDroppedByQueue)
        counters.add(sampledOutCount, to: .packetsSampledOut)
        counters.add(limitedCount, to: .packetsLimited)
        counters.add(segmentedCount, to: .framesSegmented)
        counters.add(segmentCount, to: .segments)
        counters.add(finishedCount, to: .checksumsFinished)
        counters.add(taggedCount, to: .tagsRestored)
        if hasUnrepaired {
            for obstacle in WireForm.Obstacle.allCases {
                counters.add(unrepairedCounts[obstacle.rawValue], to: obstacle)
            }
        }
        guard puntedCount + notHeldCount + translatedCount > 0 else { return }
        counters.add(puntedCount, to: .framesPunted)
        counters.add(fragmentCount, to: .fragments)
        counters.add(notHeldCount, to: .fragmentsNotHeld)
        counters.add(translatedCount, to: .framesTranslated)
        counters.add(unexplainedCount, to: .framesUnexplained)
    }
}
