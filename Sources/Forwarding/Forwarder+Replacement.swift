import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Time

/// The forwarder's steps.
extension Forwarder {
    /// Carries out what the ring manager says about a replacement.
    func advance(
        _ command: RingReplacement.Command, of incarnation: UInt64, now: MonotonicTime
    ) throws(SystemError) {
        switch command {
        case .prepare(let ring, let seen, let side):
            guard let ring = ring.take(), let seen = seen.take() else { return }
            prepare(ring, seen, side, incarnation)
        case .succeed:
            guard let edge = edges[incarnation] else { return }
            try count(edge)
            edge.beginSuccession(now: now)
            closing.insert(incarnation)
        case .cancel:
            guard let edge = edges[incarnation] else { return }
            // What it has read must not be more than what the kernel is known to have put there.
            try count(edge)
            cancelReplacement(of: edge, because: .other)
        }
    }

    /// Step 2: lets into a new ring what is let into the present one.
    private func prepare(
        _ ring: consuming Ring, _ seen: consuming PacketSet, _ side: TapSide,
        _ incarnation: UInt64
    ) {
        // Under pressure a larger ring would not help, and hide what is dropped. What an earlier
        // replacement has recorded is needed until its last duplicate has been left out.
        guard let edge = edges[incarnation], pressure == nil, !edge.needsRecord else {
            return report(.cancelled(TransferBox(ring), .busy), of: incarnation)
        }
        do {
            try count(edge)
            count(try edge.prepare(ring, seen, at: side, programs), edge.counters)
            report(.prepared, of: incarnation)
        } catch {
            counters.add(1, to: .programsNotReplaced)
            report(.cancelled(nil, .other), of: incarnation)
        }
    }

    /// Step 4: puts the new ring in the old one's place, or cancels if it has not got everything.
    func replaceRing(of edge: CapturedEdge) throws(SystemError) {
        try count(edge)
        let fileDescriptor = edge.fileDescriptor
        let old: TransferBox<Ring>?
        switch try edge.succeed(now: .now) {
        case .impossible(let obstacle): return cancelReplacement(of: edge, because: obstacle)
        case .done(let ring, let lost):
            old = ring
            count(lost, edge.counters)
        }
        try poller.remove(fileDescriptor)
        counters.add(1, to: .ringsReplaced)
        try poller.add(edge.fileDescriptor, as: Key.firstEdge + edge.incarnation)
        noteRings()
        report(.replaced(old), of: edge.incarnation)
        if edge.isLagging, !edge.isLeaving { adopt(edge) }
    }

    /// Ends the time in which a ring's packets may be duplicates from the pair's other end.
    func endLag(of edge: CapturedEdge) throws(SystemError) {
        guard let statistics = try edge.endLag(now: .now) else { return }
        count(statistics, edge.counters)
    }

    /// Keeps the old ring.
    func cancelReplacement(
        of edge: CapturedEdge, because obstacle: RingReplacement.Obstacle
    ) {
        let (new, remainder) = edge.cancelReplacement()
        count(remainder, edge.counters)
        report(.cancelled(new, obstacle), of: edge.incarnation)
    }

    /// Counts the packets of a block that have come out of either ring for the first time.
    func countFirstRead(_ edge: CapturedEdge) {
        let count = edge.takeFirstReadCount()
        guard count > 0 else { return }
        self.count(Ring.Statistics(received: UInt32(count), dropped: 0), edge.counters)
    }

    private func report(_ event: RingReplacement.Event, of incarnation: UInt64) {
        manager.post(.replacement(incarnation: incarnation, event))
    }
}
