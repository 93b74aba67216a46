import Log
package import Logging
package import Packets
package import RPCAP

/// Counts of one or more captures at a moment.
package struct CaptureCounts: Sendable {
    package private(set) var frames = FrameCounts()
    /// By the raw value of `CaptureMetric`.
    private var values = CaptureMetric.allCases.map { _ in UInt64(0) }
    /// By the raw value of `WireForm.Obstacle`.
    private var unrepaired = WireForm.Obstacle.allCases.map { _ in UInt64(0) }

    package init() {}

    init(_ counters: CaptureCounters) {
        frames = counters.frames.counts
        values = CaptureMetric.allCases.map { counters.own($0) }
        unrepaired = WireForm.Obstacle.allCases.map { counters[$0] }
    }

    /// The counts of a session that has joined a capture, from its own ones and the capture's.
    ///
    /// - Parameters:
    ///   - own: What the session has counted itself.
    ///   - capture: What the capture has counted.
    ///   - base: What it had counted when the session joined.
    init(_ own: Self, sharing capture: Self, since base: Self) {
        self = own
        frames = FrameCounts(own.frames, sharing: capture.frames, since: base.frames)
        for metric in CaptureMetric.allCases where metric.isShared {
            values[metric.rawValue] += capture[metric] - base[metric]
        }
    }

    /// Gives the frames that are still on their way a fate.
    mutating func abandonRest() { frames.abandonRest() }

    package subscript(metric: CaptureMetric) -> UInt64 { values[metric.rawValue] }

    package subscript(obstacle: WireForm.Obstacle) -> UInt64 { unrepaired[obstacle.rawValue] }

    package static func += (total: inout Self, other: Self) {
        total.frames += other.frames
        for index in total.values.indices { total.values[index] += other.values[index] }
        for index in total.unrepaired.indices { total.unrepaired[index] += other.unrepaired[index] }
    }
}

extension CaptureCounts {
    /// The counts as RPCAP reports them: what passed the filter counts as received, even if it was
    /// dropped afterwards.
    ///
    /// Each is a sum of counts that only grow, so none ever goes back. A packet on its way through a
    /// ring counts when it comes out, and as sent when the socket has taken it.
    package var statistics: CaptureStatistics {
        let dropped =
            frames[.droppedByRing] + frames[.droppedByBlock] + self[.packetsDroppedByQueue]
            + self[.packetsLimited]
        let received = self[.packetsQueued] + dropped + self[.packetsSampledOut]
        return CaptureStatistics(
            received: UInt32(truncatingIfNeeded: received),
            droppedByKernel: UInt32(truncatingIfNeeded: dropped),
            sent: UInt32(truncatingIfNeeded: self[.packetsSent]))
    }

    /// The counts as one line of the log: the frames by fate always, what most captures never meet
    /// only where it was met.
    package var metadata: Logger.Metadata {
        var metadata = frames.metadata
        metadata["sent"] = .number(self[.packetsSent])
        for metric in CaptureMetric.allCases {
            guard let name = metric.logName else { continue }
            if self[metric] > 0 || metric == .framesPunted {
                metadata[name] = .number(self[metric])
            }
        }
        for metric in RequestMetric.allCases where frames[metric] > 0 {
            metadata[metric.logName] = .number(frames[metric])
        }
        for obstacle in WireForm.Obstacle.allCases where self[obstacle] > 0 {
            metadata["unrepaired_\(obstacle.name)"] = .number(self[obstacle])
        }
        return metadata
    }
}

extension FrameCounts {
    /// Frames matched and frames by fate, as the log has them.
    var metadata: Logger.Metadata {
        Fate.allCases.reduce(into: ["matched": .number(matched)]) { metadata, fate in
            metadata[fate.name] = .number(self[fate])
        }
    }
}

extension WireForm.Obstacle {
    /// The name in the log and as the metrics' label `reason`.
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
