import BPF
import Capture
import Frames
import Kernel
import Observation
import RPCAP

/// The data path of one capture: from the rings of its edges to the sensor's data connection.
///
/// One thread runs it. It takes the blocks that the kernel hands over, has the pipeline put their
/// packets into the send queue, and sends that with large writes. When the queue is full the rings
/// are left alone until the sensor has taken some of it; what does not fit into the rings in the
/// meantime the kernel drops and counts.
final class Forwarder {
    private let socket: Descriptor
    private let orders: CInt
    private let taps: [Tap]
    private let counters: CaptureCounters
    private var programs: ProgramPlan
    private var pipeline: Pipeline
    private var dropList: DropList
    private var poller: Poller
    private var waitsForSocket = false
    /// The queue had no room for a block: until it has, only the socket is waited for.
    private var isFull = false
    /// No program may take the place of the one that lets nothing in.
    private var isFinishing = false

    /// A write of this size costs the kernel no more per byte than a larger one, and what has been
    /// copied is still in the processor's cache.
    static let sendByteCount = 256 << 10

    enum Key {
        static let orders: UInt64 = 0
        static let socket: UInt64 = 1
        static let firstTap: UInt64 = 2
    }

    /// Why the data path cannot go on.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    init(
        _ plan: CapturePlan, _ pipeline: consuming Pipeline, taps: [Tap],
        socket: consuming Descriptor, orders: CInt, counters: CaptureCounters
    ) throws(SystemError) {
        let poller = try Poller()
        try poller.add(orders, as: Key.orders)
        try poller.add(socket.number, as: Key.socket)
        for (index, tap) in taps.enumerated() {
            try poller.add(tap.ring.number, as: Key.firstTap + UInt64(index))
        }
        self.orders = orders
        self.socket = socket
        self.taps = taps
        self.counters = counters
        programs = ProgramPlan(plan)
        self.pipeline = pipeline
        dropList = DropList(edgeCount: taps.count)
        self.poller = poller
    }

    /// Waits for packets, room in the socket or an order, and deals with all but the order. Answers
    /// whether an order has come, and names the edges that have gone down.
    func turn(milliseconds: CInt) throws -> (hasOrder: Bool, down: [Place]) {
        var hasOrder = false
        var down: [Place] = []
        if isFull, try !makeRoom(milliseconds: wait(milliseconds), hasOrder: &hasOrder) {
            pipeline.attend()
            return (hasOrder, down)
        }
        let readyCount = try poller.wait(milliseconds: wait(milliseconds))
        pipeline.attend()
        for index in 0..<readyCount {
            switch poller.key(at: index) {
            case Key.orders: hasOrder = true
            case Key.socket:
                if try poller.hasFailed(at: index) || !discardReceived(from: socket.number) {
                    throw Failure(description: "the sensor closed the data connection")
                }
            case let key:
                let tap = taps[Int(key - Key.firstTap)]
                if poller.hasFailed(at: index), try tap.ring.takePendingError() != 0 {
                    down.append(tap.place)
                }
                try drain(tap)
            }
        }
        if !isFinishing { replacePrograms() }
        try send()
        return (hasOrder, down)
    }

    /// The shorter of a time to wait, where negative is for ever, and until something is due.
    private func wait(_ milliseconds: CInt) -> CInt {
        guard let due = pipeline.turnMilliseconds else { return milliseconds }
        return milliseconds < 0 ? due : min(milliseconds, due)
    }

    /// Waits for the sensor to take some of a full queue. Answers whether there is room again.
    private func makeRoom(milliseconds: CInt, hasOrder: inout Bool) throws -> Bool {
        let ready = try poll(
            [(socket.number, .writable), (orders, .readable)], milliseconds: milliseconds)
        hasOrder = ready[1].contains(.readable)
        if !ready[0].isDisjoint(with: .failed) {
            throw Failure(description: "the sensor closed the data connection")
        }
        try send()
        guard pipeline.hasRoom(forBlock: taps.first?.ring.blockByteCount ?? 0) else { return false }
        isFull = false
        return true
    }

    /// Forwards what a ring holds, as far as the queue has room.
    private func drain(_ tap: Tap) throws {
        let byteCount = tap.ring.blockByteCount
        while true {
            if !pipeline.hasRoom(forBlock: byteCount) {
                try send()
                guard pipeline.hasRoom(forBlock: byteCount) else {
                    isFull = true
                    return
                }
            }
            guard let block = tap.ring.next() else { return tap.isDrained() }
            pipeline.forward(
                block, from: tap.place.point, isDecided: tap.isDecided, isFiltered: tap.isFiltered)
            if pipeline.queue.byteCount >= Self.sendByteCount { try send() }
        }
    }
}

extension Forwarder {
    /// Sends what the sensor takes, and asks to be told when it takes more.
    private func send() throws(SystemError) {
        guard pipeline.queue.byteCount > 0 || waitsForSocket else { return }
        let isDrained = try pipeline.queue.send(to: socket.number)
        guard isDrained == waitsForSocket else { return }
        waitsForSocket = !isDrained
        try poller.wait(for: socket.number, as: Key.socket, toBeWritable: waitsForSocket)
    }

    /// Puts other programs in the place of those that run, edge by edge, each between two packets.
    /// If the kernel refuses one, the error is thrown and the programs before it stay replaced, so
    /// the caller puts the old ones back.
    func adopt(_ rule: Rule, _ filter: Program?) throws(SystemError) {
        var next = programs
        (next.rule, next.filter) = (rule, filter)
        for tap in taps { try tap.adopt(&next) }
        programs = next
        pipeline.adopt(rule, filter)
    }

    /// Has the programs drop what has been learned about services, a few edges at a time. Where the
    /// kernel refuses one, the old program stays, and is replaced when the list changes again.
    private func replacePrograms() {
        let edges = dropList.next(pipeline.settler.services, now: monotonicNanoseconds())
        programs.dropList = dropList.services
        for index in edges {
            do throws(SystemError) {
                try taps[index].adopt(&programs)
            } catch {
                CaptureCounters.add(1, to: counters.programsNotReplaced)
            }
        }
    }

    /// Adds to the counters what the kernel has counted since the last time.
    func countKernel() throws(SystemError) {
        for tap in taps {
            let statistics = try tap.ring.takeStatistics()
            CaptureCounters.add(Int(statistics.received), to: counters.framesMatched)
            CaptureCounters.add(Int(statistics.dropped), to: counters.framesDroppedByRing)
        }
    }

    /// Lets no more packets in, and forwards those that are in the rings or the queue, for as long
    /// as the time allows. The connection ends with this object.
    func finish(milliseconds: Int) throws {
        let deadline = monotonicNanoseconds() + UInt64(milliseconds) * 1_000_000
        isFinishing = true
        for tap in taps { try? tap.ring.attach(Program.keepNothing) }
        // What is in a block that is not full comes when the kernel retires it.
        let retirement = monotonicNanoseconds() + Ring.retirementNanosecondsMax
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline, now < retirement || pipeline.queue.byteCount > 0 || isFull else {
                break
            }
            let rest = CInt((min(deadline, max(retirement, now + 1_000_000)) - now) / 1_000_000)
            _ = try turn(milliseconds: max(1, min(rest, 10)))
        }
        for tap in taps { try drain(tap) }
        pipeline.attend(isLast: true)
        try send()
    }

    /// Brings the counters to their last values; what is still in the queue is lost.
    func settleAccounts() {
        try? countKernel()
        CaptureCounters.add(pipeline.waitingByteCount, to: counters.bytesAbandoned)
    }
}
