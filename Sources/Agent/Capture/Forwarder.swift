import BPF
import Capture
import Frames
import Kernel
import Observation
import RPCAP

/// The data path of one capture: from the rings of its edges to the sensor's data connection.
///
/// One thread runs it. It walks the blocks that the kernel hands over, has the rule settle the few
/// frames that the kernel could not decide about, writes each packet with its header into the send
/// queue, and sends the queue with large writes. Nothing is allocated, logged or asked of the kernel
/// for a single packet. When the queue is full the rings are left alone until the sensor has taken
/// some of it; what does not fit into the rings in the meantime the kernel drops and counts.
final class Forwarder {
    private let socket: Descriptor
    private let orders: CInt
    private let taps: [Tap]
    private let counters: CaptureCounters
    private let snaplen: Int
    private var rule: Rule
    private var filter: Program?
    private var poller: Poller
    private var queue: ByteQueue
    private var packetNumber: UInt32 = 0
    private var waitsForSocket = false
    /// The queue had no room for a block: until it has, only the socket is waited for.
    private var isFull = false

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
        _ plan: CapturePlan, taps: [Tap], socket: consuming Descriptor,
        orders: CInt, counters: CaptureCounters
    ) throws(SystemError) {
        let poller = try Poller()
        try poller.add(orders, as: Key.orders)
        try poller.add(socket.number, as: Key.socket)
        for (index, tap) in taps.enumerated() {
            try poller.add(tap.ring.number, as: Key.firstTap + UInt64(index))
        }
        let queue = try ByteQueue(byteCountMax: plan.queueByteCountMax)
        self.orders = orders
        self.socket = socket
        self.taps = taps
        self.counters = counters
        snaplen = plan.snaplen
        rule = plan.rule
        filter = plan.filter
        self.poller = poller
        self.queue = queue
    }

    /// Waits for packets, room in the socket or an order, and deals with all but the order. Answers
    /// whether an order has come, and names the edges that have gone down.
    func turn(milliseconds: CInt) throws -> (hasOrder: Bool, down: [Place]) {
        var hasOrder = false
        var down: [Place] = []
        if isFull, try !makeRoom(milliseconds: milliseconds, hasOrder: &hasOrder) {
            return (hasOrder, down)
        }
        let readyCount = try poller.wait(milliseconds: milliseconds)
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
        try send()
        return (hasOrder, down)
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
        guard queue.hasRoom(for: taps.first?.ring.blockByteCount ?? 0) else { return false }
        isFull = false
        return true
    }

    /// Forwards what a ring holds, as far as the queue has room.
    private func drain(_ tap: Tap) throws {
        // A block holds more bytes than its packets become: its own header for each of them is
        // longer than ours.
        let byteCount = tap.ring.blockByteCount
        while true {
            if !queue.hasRoom(for: byteCount) {
                try send()
                guard queue.hasRoom(for: byteCount) else {
                    isFull = true
                    return
                }
            }
            guard let block = tap.ring.next() else { return }
            forward(block, tap.place.point, kernelFilters: tap.program.includesFilter)
            if queue.byteCount >= Self.sendByteCount { try send() }
        }
    }

    /// What happened to the packets of a block; the shared counters are touched once for all.
    private struct Tally {
        var settledCount = 0
        var refusedCount = 0
        var filteredCount = 0
        var packetCount = 0
    }

    private func forward(
        _ block: borrowing Block, _ point: ObservationPoint, kernelFilters: Bool
    ) {
        var tally = Tally()
        let byteCountBefore = queue.byteCount
        var packets = block.packets
        while let packet = packets.next() {
            var limit = snaplen
            if !packet.isCutShort, rule.mayNeedSettling(packet.bytes) {
                tally.settledCount += 1
                guard settle(packet, at: point) else {
                    tally.refusedCount += 1
                    continue
                }
                limit = filtered(packet, limit, at: point)
            } else if !kernelFilters {
                limit = filtered(packet, limit, at: point)
            }
            guard limit > 0 else {
                tally.filteredCount += 1
                continue
            }
            append(packet, limit)
            tally.packetCount += 1
        }
        CaptureCounters.add(tally.settledCount, to: counters.framesSettled)
        CaptureCounters.add(tally.refusedCount, to: counters.framesRefused)
        CaptureCounters.add(tally.filteredCount, to: counters.framesFilteredOut)
        CaptureCounters.add(tally.packetCount, to: counters.packetsQueued)
        CaptureCounters.add(queue.byteCount - byteCountBefore, to: counters.bytesQueued)
    }

    /// The one place for all that the kernel's form of the rule leaves open: fragments, group
    /// frames, extension headers, service forms, ICMP errors, and what is cut short.
    private func settle(_ packet: borrowing Packet, at point: ObservationPoint) -> Bool {
        rule.decision(on: packet.bytes, isEgress: packet.isEgress, at: point).isReported
    }

    /// Shows the sensor's filter what the kernel did not show it. Answers how many bytes to keep.
    private func filtered(
        _ packet: borrowing Packet, _ limit: Int, at point: ObservationPoint
    ) -> Int {
        guard let filter else { return limit }
        var ancillary = Ancillary()
        ancillary.packetType = packet.isEgress ? Ancillary.outgoing : 0
        ancillary.interfaceIndex = point.interfaceIndex
        if packet.bytes.byteCount >= Headers.ethernetByteCount {
            ancillary.etherType = UInt32(packet.bytes.uint16(at: 12))
        }
        ancillary.wireByteCount = UInt32(clamping: packet.wireByteCount)
        if let vlan = packet.vlan {
            ancillary.vlanTag = UInt32(vlan.tag)
            ancillary.vlanEtherType = UInt32(vlan.etherType)
        }
        return min(limit, Int(filter.run(on: packet.bytes, ancillary)))
    }

    private func append(_ packet: borrowing Packet, _ limit: Int) {
        let byteCount = min(packet.bytes.byteCount, limit)
        packetNumber &+= 1
        var header = queue.extend(by: PacketRecord.headerByteCount)
        PacketRecord.store(
            into: &header, nanoseconds: packet.nanosecondsSince1970, byteCount: byteCount,
            wireByteCount: packet.wireByteCount, number: packetNumber)
        queue.append(packet.bytes.extracting(first: byteCount))
    }
}

extension Forwarder {
    /// Sends what the sensor takes, and asks to be told when it takes more.
    private func send() throws(SystemError) {
        guard queue.byteCount > 0 || waitsForSocket else { return }
        let isDrained = try queue.send(to: socket.number)
        guard isDrained == waitsForSocket else { return }
        waitsForSocket = !isDrained
        try poller.wait(for: socket.number, as: Key.socket, toBeWritable: waitsForSocket)
    }

    /// Puts other programs in the place of those that run, edge by edge, each between two packets.
    /// If the kernel refuses one, the error is thrown and the programs before it stay replaced, so
    /// the caller puts the old ones back.
    func adopt(_ rule: Rule, _ filter: Program?) throws(SystemError) {
        for tap in taps {
            let program = EdgeProgram(
                rule, at: tap.place.point, filter: filter, snaplen: UInt32(snaplen))
            try tap.ring.attach(program.program)
            tap.program = program
        }
        (self.rule, self.filter) = (rule, filter)
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
        for tap in taps { try? tap.ring.attach(Program.keepNothing) }
        // What is in a block that is not full comes when the kernel retires it.
        let retirement = monotonicNanoseconds() + Self.retirementNanoseconds
        while true {
            let now = monotonicNanoseconds()
            guard now < deadline, now < retirement || queue.byteCount > 0 || isFull else { break }
            let rest = CInt((min(deadline, max(retirement, now + 1_000_000)) - now) / 1_000_000)
            _ = try turn(milliseconds: max(1, min(rest, 10)))
        }
        for tap in taps { try drain(tap) }
        try send()
    }

    /// Brings the counters to their last values; what is still in the queue is lost.
    func settleAccounts() {
        try? countKernel()
        CaptureCounters.add(queue.byteCount, to: counters.bytesAbandoned)
    }

    /// Three times a block's retirement time, since timers are late on a busy node.
    private static let retirementNanoseconds: UInt64 = 30_000_000
}

extension Packet {
    /// Whether a filter has kept only the beginning. Then the kernel has decided about the packet,
    /// and must have: what it leaves to user space comes whole, or cut by a block, which is longer.
    fileprivate var isCutShort: Bool {
        bytes.byteCount < wireByteCount && bytes.byteCount < Int(UInt16.max)
    }
}
