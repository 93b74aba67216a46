import Edges
import Linux
import PacketRing
import Time

/// The end of a capture.
extension Forwarder {
    /// Lets no more packets in, and forwards those in the rings and the queue.
    ///
    /// The connection ends with this object.
    ///
    /// - Parameter deadline: When to give up.
    /// - Throws: If the data connection, or a system call, has failed.
    func finish(by deadline: MonotonicTime) throws(SendFailure) {
        // Nobody carries out commands any more.
        try? poller.remove(commands.fileDescriptor)
        drainEverything()
        // The packets of a block that is not full come when the kernel retires it.
        try flush(until: .now + Ring.settlingTime, deadline)
        while MonotonicTime.now < deadline, try awaitsBlocks() {
            try flush(until: .now + Self.flushInterval, deadline)
        }
        for edge in edges.values { try drainForGood(edge) }
        if let sharedRing { try drain(sharedRing) }
        write { $0.releaseHeld(into: &$1, now: .now) }
        try send(.now)
        try flush(until: .zero, deadline)
    }

    /// Forwards until a time, and then as long as packets wait to be sent.
    private func flush(
        until end: MonotonicTime, _ deadline: MonotonicTime
    ) throws(SendFailure) {
        while true {
            let now = MonotonicTime.now
            guard now < deadline, now < end || hasUnsent else { return }
            let rest = (now < end ? min(end, deadline) : deadline) - now
            try turn(within: min(rest, Self.flushInterval))
        }
    }

    private static let flushInterval = Duration.milliseconds(10)

    /// Whether a slow ring holds packets in a block that is still to come.
    private func awaitsBlocks() throws(SendFailure) -> Bool {
        for edge in edges.values where try !isOver(edge) { return true }
        return false
    }

    private func drainEverything() {
        let now = MonotonicTime.now
        for edge in edges.values { edge.beginDraining(now: now) }
        if sharedRing?.isEmpty == false { try? sharedRing?.set([], now: now) }
    }

    /// Forwards everything that an edge has, with the new ring of a replacement.
    private func drainForGood(_ edge: CapturedEdge) throws(SendFailure) {
        try drain(edge)
        guard edge.hasNewRing, !isQueueFull else { return }
        try SendFailure.rethrowing { () throws(SystemError) in try replaceRing(of: edge) }
        try drain(edge)
    }

    /// Brings the counters to their last values: what is still in a ring or in the queue is abandoned.
    ///
    /// If the data path has failed this waits until the kernel has retired all blocks.
    func closeAccounts() {
        pipeline.dropHeld { abandon(1, $0) }
        drainEverything()
        abandonUntilOver()
        if let sharedRing { sleep(until: sharedRing.drainedAt) }
        for edge in edges.values { abandon(edge) }
        guard let sharedRing else { return }
        while let count = sharedRing.ring.skipBlock() { abandon(count, sharedRing.counters) }
        if let statistics = try? sharedRing.ring.takeStatistics() {
            count(statistics, sharedRing.counters)
        }
        close(sharedRing.counters, SharedRing.name, SharedRing.incarnation)
    }

    /// Abandons blocks until the kernel has retired all of them.
    private func abandonUntilOver() {
        for edge in edges.values {
            while true {
                while let count = skipBlock(of: edge) { abandon(count, edge.counters) }
                // If that fails there is no capture any more whose end is waited for.
                guard let isOver = try? isOver(edge), !isOver else { break }
                sleep(until: .now + Self.flushInterval)
            }
        }
    }

    private func abandon(_ edge: CapturedEdge) {
        abandonRest(of: edge)
        close(edge.counters, edge.edge.name, edge.incarnation)
    }

    /// Abandons what is in the rings of an edge into which nothing more is let.
    func abandonRest(of edge: CapturedEdge) {
        while true {
            while let count = skipBlock(of: edge) { abandon(count, edge.counters) }
            try? count(edge)
            guard edge.hasNewRing else { break }
            do { try replaceRing(of: edge) } catch { cancelReplacement(of: edge, because: .other) }
        }
    }

    /// Gives the next block of a ring back unread.
    ///
    /// - Returns: The number of packets in it that were not forwarded from another ring.
    private func skipBlock(of edge: CapturedEdge) -> Int? {
        guard let replacement = edge.replacement else {
            guard let count = edge.ring?.skipBlock() else { return nil }
            edge.recordRead(count, now: .now)
            return count
        }
        guard let block = edge.ring?.next() else { return nil }
        edge.recordBlock(block)
        var packets = block.packets
        var count = 0
        while let packet = packets.next() {
            if !replacement.consume(replacement.identity(of: packet)) { count += 1 }
        }
        edge.recordRead(packets.count, now: .now)
        countFirstRead(edge)
        return count
    }

    private func abandon(_ count: Int, _ tally: EdgeTally) {
        tally.common.add(count, to: .abandoned)
        counters.frames.add(count, to: .abandoned)
    }
}
