package import RPCAP

import Packets
import Log
package import Logging
import Synchronization

extension CaptureCounters {
    /// The counters as RPCAP reports them: what passed the filter counts as received, also where
    /// it was dropped afterwards. Each is a sum of counts that only grow, so none ever goes back;
    /// what is on its way through a ring counts when it comes out.
    package var statistics: CaptureStatistics {
        let sent = packetsQueued.load(ordering: .relaxed)
        let dropped =
            frames.droppedByRing.load(ordering: .relaxed)
            + packetsDroppedByQueue.load(ordering: .relaxed)
            + packetsLimited.load(ordering: .relaxed)
        let received = sent + dropped + packetsSampledOut.load(ordering: .relaxed)
        return CaptureStatistics(
            received: UInt32(truncatingIfNeeded: received),
            droppedByKernel: UInt32(truncatingIfNeeded: dropped),
            sent: UInt32(truncatingIfNeeded: sent))
    }

    /// The counters as one line of the log shows them.
    package var metadata: Logger.Metadata {
        let unsent = packetsAbandoned.load(ordering: .relaxed)
        var metadata = frames.counts.metadata
        metadata["settled"] = .number(framesSettled.load(ordering: .relaxed))
        metadata["sent"] = .number(max(packetsQueued.load(ordering: .relaxed), unsent) - unsent)
        // What most captures never meet is named where it was met.
        let rare: [(String, UInt64)] = [
            ("unaccounted", framesUnaccounted.load(ordering: .relaxed)),
            ("abandoned_packets", unsent),
            ("abandoned_bytes", bytesAbandoned.load(ordering: .relaxed)),
            ("translated", packetsTranslated.load(ordering: .relaxed)),
            ("segmented", framesSegmented.load(ordering: .relaxed)),
            ("segments", segments.load(ordering: .relaxed)),
            ("checksums_finished", checksumsFinished.load(ordering: .relaxed)),
            ("tags_restored", tagsRestored.load(ordering: .relaxed)),
            ("datagrams", datagramsSent.load(ordering: .relaxed)),
            ("datagrams_refused", datagramsRefused.load(ordering: .relaxed)),
            ("datagrams_failed", datagramsFailed.load(ordering: .relaxed)),
            ("datagrams_too_large", datagramsTooLarge.load(ordering: .relaxed)),
            ("fragments", fragments.load(ordering: .relaxed)),
            ("fragments_not_held", fragmentsNotHeld.load(ordering: .relaxed)),
            ("unexplained", framesUnexplained.load(ordering: .relaxed)),
            ("tracking_questions", trackingQuestions.load(ordering: .relaxed)),
            ("tracking_not_asked", trackingQuestionsNotAsked.load(ordering: .relaxed)),
            ("tracking_failures", trackingFailures.load(ordering: .relaxed)),
            ("tracking_overruns", trackingOverruns.load(ordering: .relaxed)),
            ("rings_replaced", ringsReplaced.load(ordering: .relaxed)),
            ("programs_not_replaced", programsNotReplaced.load(ordering: .relaxed)),
            ("flows_evicted", trackedFlowsEvicted.load(ordering: .relaxed)),
        ]
        for (name, count) in rare where count > 0 { metadata[name] = .number(count) }
        for obstacle in WireForm.Obstacle.allCases {
            let count = framesUnrepaired[obstacle.rawValue].load(ordering: .relaxed)
            if count > 0 { metadata["unrepaired_\(obstacle.name)"] = .number(count) }
        }
        return metadata
    }
}

extension FrameCounters.Counts {
    /// The law's terms.
    var metadata: Logger.Metadata {
        fates.reduce(into: ["matched": .number(matched)]) { metadata, fate in
            metadata[fate.name] = .number(fate.count)
        }
    }
}

extension WireForm.Obstacle {
    /// As counters have it.
    package var name: String {
        switch self {
        case .cutShort: "cut_short"
        case .notIP: "not_ip"
        case .fragment: "fragment"
        case .tunnel: "tunnel"
        case .gsoType: "gso_type"
        case .segmentSize: "segment_size"
        case .segmentCount: "segment_count"
        case .headers: "headers"
        case .length: "length"
        case .checksumOffset: "checksum_offset"
        case .sourceRoute: "source_route"
        }
    }
}
