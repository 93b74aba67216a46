import Packets
import Synchronization

/// What happened to the packets of a block; the shared counters are touched once for all of them.
struct Tally {
    var settledCount = 0
    var refusedCount = 0
    var filteredCount = 0
    var sampledOutCount = 0
    var limitedCount = 0
    var packetCount = 0
    /// Of the packets in the queue, headers included.
    var byteCount = 0
    var droppedCount = 0
    /// How many more segments than frames there were, of each fate.
    private(set) var surplus = Surplus()
    var fragmentCount = 0
    var notHeldCount = 0
    var translatedCount = 0
    var unexplainedCount = 0
    var segmentedCount = 0
    var segmentCount = 0
    var finishedCount = 0
    var taggedCount = 0
    var unrepairedCounts = [11 of Int](repeating: 0)
    private(set) var hasUnrepaired = false

    struct Surplus {
        var packetCount = 0
        var sampledOutCount = 0
        var limitedCount = 0
        var droppedCount = 0
    }

    /// Takes note of one frame's segments, all that has been counted since `before`: one of them
    /// stands for the frame, and the others are so many too many.
    mutating func addSegments(since before: borrowing Tally) {
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

    /// Takes note of what a frame takes to be sent.
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

    /// Adds everything to the capture's counters.
    func add(to counters: CaptureCounters) {
        counters.frames.add(self)
        CaptureCounters.add(packetCount, to: counters.packetsQueued)
        CaptureCounters.add(byteCount, to: counters.bytesQueued)
        CaptureCounters.add(droppedCount, to: counters.packetsDroppedByQueue)
        CaptureCounters.add(sampledOutCount, to: counters.packetsSampledOut)
        CaptureCounters.add(limitedCount, to: counters.packetsLimited)
        CaptureCounters.add(segmentedCount, to: counters.framesSegmented)
        CaptureCounters.add(segmentCount, to: counters.segments)
        CaptureCounters.add(finishedCount, to: counters.checksumsFinished)
        CaptureCounters.add(taggedCount, to: counters.tagsRestored)
        if hasUnrepaired {
            for index in unrepairedCounts.indices {
                CaptureCounters.add(unrepairedCounts[index], to: counters.framesUnrepaired[index])
            }
        }
        guard settledCount + notHeldCount > 0 else { return }
        CaptureCounters.add(settledCount, to: counters.framesSettled)
        CaptureCounters.add(fragmentCount, to: counters.fragments)
        CaptureCounters.add(notHeldCount, to: counters.fragmentsNotHeld)
        CaptureCounters.add(translatedCount, to: counters.packetsTranslated)
        CaptureCounters.add(unexplainedCount, to: counters.framesUnexplained)
    }
}
