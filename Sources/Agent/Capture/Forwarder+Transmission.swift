import Kernel
import Logging

extension Forwarder {
    /// Has another thread send from now on if this one is full, or is to do so anyway. Where that
    /// cannot be this thread goes on as before.
    ///
    /// While much is in the queue it is the socket that is full, and not the thread.
    func attendTransmission(_ now: UInt64) throws(SystemError) {
        switch transmission {
        case .never: return
        case .always: break
        case .whenFull:
            guard load.isFull(now: now, busyNanoseconds: threadNanoseconds()),
                Self.hasProcessors
            else { return }
        }
        guard let socket = transmitter.number,
            pipeline.writer.queue.byteCount <= Self.sendByteCount
        else { return }
        transmission = .never
        do throws(SystemError) {
            let queue = try pipeline.writer.halfQueue()
            try transmitter.start(
                try pipeline.writer.halfQueue(), counters, prepare: prepareTransmitter)
            pipeline.writer.move(to: queue)
        } catch {
            return logger.warning(
                "the thread that forwards is full, and none can help it",
                metadata: ["reason": "\(error)"])
        }
        try poller.remove(socket)
        if let number = transmitter.number { try poller.add(number, as: Key.socket) }
        waitsForSocket = false
        logger.info("packets are sent by a thread of their own from now on")
    }

    /// On one processor two threads would only get into each other's way.
    private static var hasProcessors: Bool { ((try? affinity())?.numbers.count ?? 1) > 1 }

    /// Counts what is still to be sent as lost.
    func abandonQueue() {
        let leftover = transmitter.stop()
        CaptureCounters.add(
            pipeline.writer.queuedPacketCount(behind: leftover), to: counters.packetsAbandoned)
        CaptureCounters.add(
            pipeline.writer.queue.byteCount + leftover.byteCount + transmitter.waitingByteCount,
            to: counters.bytesAbandoned)
    }
}
