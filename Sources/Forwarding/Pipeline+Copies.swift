import Addressing
import Observation
import PacketRing
import Packets
import Time

/// Step 3, group frames: the copies of one frame that come to several edges of a bridge.
extension Pipeline {
    /// Records a frame to a group.
    ///
    /// This is done before a frame waits for anything, so that one copy waits at most.
    ///
    /// - Returns: Whether it was reported at another edge.
    mutating func noteGroupFrame(
        _ packet: borrowing Packet, at point: ObservationPoint, _ now: MonotonicTime
    ) -> Bool {
        let frame = packet.bytes
        guard packet.details.isOutgoing, point.bridge != nil,
            frame.byteCount >= EthernetHeader.byteCount,
            MACAddress(frame, at: EthernetHeader.destination).isGroup
        else { return false }
        let decision = slowPath.rule.decision(on: frame, direction: .toPod, at: point)
        return record(packet, decision, at: point, now)
    }

    /// Records a frame that is reported, if it goes to an address that nobody has.
    ///
    /// - Returns: Whether it was reported at another edge.
    mutating func noteFloodedFrame(
        _ packet: borrowing Packet, _ decision: Decision, at point: ObservationPoint,
        _ now: MonotonicTime
    ) -> Bool {
        packet.details.isOutgoing && decision.step != .groupFromElsewhere
            && record(packet, decision, at: point, now)
    }

    /// Records a copy that the rule would report.
    ///
    /// - Returns: Whether it is not the first one.
    private mutating func record(
        _ packet: borrowing Packet, _ decision: Decision, at point: ObservationPoint,
        _ now: MonotonicTime
    ) -> Bool {
        let isToPodItself = packet.details.isToPodItself
        guard
            slowPath.rule.mayHaveCopies(
                packet.bytes, decision, at: point, isToPodItself: isToPodItself)
        else { return false }
        let isFirst = copies.recordsFirst(
            packet.bytes, byteCount: packet.details.wireByteCount, at: point,
            stamp: packet.details.nanosecondsSince1970, now: now)
        if !isFirst { counters.add(1, to: .copiesRefused) }
        counters.set(.copiesEvicted, to: copies.evictedCount)
        return !isFirst
    }

    /// Counts a copy that is not reported as a frame that the rule refuses.
    func countCopy(_ counts: inout BlockCounts) {
        counts.puntedCount += 1
        counts.refusedCount += 1
    }
}
