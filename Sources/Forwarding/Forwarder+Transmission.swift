import Linux
import Logging

extension Forwarder {
    /// A thread that runs for more of a tenth of a second has no time left for a burst.
    private static let fullPercent = 80
    private static let fullNanoseconds: UInt64 = 100_000_000

    /// Where packets are few two threads cost half as much again for each, so when both together have
    /// run for less than this of ten seconds one is enough.
    private static let sparePercent = 40
    private static let spareNanoseconds: UInt64 = 10_000_000_000

    /// Has another thread send if this one is full, and ends it when one is enough.
    func attendTransmission(_ now: UInt64) throws {
        switch transmission {
        case .never: return
        case .always: try startTransmitter()
        case .whenFull where transmitter.hasThread:
            let percent = load.percent(
                over: Self.spareNanoseconds, now: now,
                busyNanoseconds: threadNanoseconds() + transmitter.threadNanoseconds)
            if let percent, percent < Self.sparePercent { try stopTransmitter() }
        case .whenFull:
            let percent = load.percent(
                over: Self.fullNanoseconds, now: now, busyNanoseconds: threadNanoseconds())
            if let percent, percent >= Self.fullPercent, Self.hasProcessors {
                try startTransmitter()
            }
        }
    }

    /// On one processor two threads would only get into each other's way.
    private static var hasProcessors: Bool { ((try? affinity())?.numbers.count ?? 1) > 1 }

    /// Where it cannot this thread goes on as before. While much is in the queue it is the socket that
    /// is full, and not the thread.
    private func startTransmitter() throws {
        guard !transmitter.hasThread, let socket = transmitter.number,
            pipeline.writer.queue.byteCount <= Self.sendByteCount
        else { return }
        do throws(SystemError) {
            let queue = try pipeline.writer.halfQueue()
            try transmitter.start(
                try pipeline.writer.halfQueue(), counters, prepare: prepareTransmitter)
            pipeline.writer.move(to: queue)
        } catch {
            transmission = .never
            return logger.warning(
                "the thread that forwards is full, and none can help it",
                metadata: ["reason": "\(error)"])
        }
        try wait(for: transmitter.number, insteadOf: socket)
        logger.debug("packets are sent by a thread of their own")
    }

    private func stopTransmitter() throws {
        guard let event = transmitter.number, transmitter.isIdle,
            var queue = try? pipeline.writer.wholeQueue()
        else { return }
        if let rest = transmitter.stop() { queue.append(rest.bytes) }
        pipeline.writer.move(to: queue)
        try wait(for: transmitter.number, insteadOf: event)
        logger.debug("packets are sent by the thread that forwards them")
    }

    private func wait(for number: CInt?, insteadOf other: CInt) throws(SystemError) {
        try poller.remove(other)
        if let number { try poller.add(number, as: Key.socket) }
        waitsForSocket = false
        load = ThreadLoad()
    }

    /// Counts what is still to be sent as lost.
    func abandonQueue() {
        let leftover = transmitter.stop()
        counters.add(pipeline.writer.queuedPacketCount(behind: leftover), to: .packetsAbandoned)
        counters.add(
            pipeline.writer.queue.byteCount + leftover.byteCount + transmitter.waitingByteCount,
            to: .bytesAbandoned)
    }
}
