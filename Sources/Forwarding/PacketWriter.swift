import PacketRing
import Addressing
import Packets
import Linux
import Observation
import RPCAP

/// Puts packets into the send queue, each behind its header, and as the wire would have carried them:
/// cut into segments, with their checksums finished, and their VLAN tags put back.
///
/// It belongs to the forwarder's thread. Each byte is read and written once, and nothing is allocated.
struct PacketWriter: ~Copyable {
    var queue: ByteQueue
    /// A frame that is changed before it is written. Its memory is taken when the first one comes.
    private var workbench: ByteQueue?
    /// The same frame with its tag, for a filter to look at.
    private var tagged: ByteQueue
    private var numbering: Numbering
    private let queueByteCount: Int
    /// Whether frames get the form that they would have had on a wire, or stay as captured.
    let restoresWireForm: Bool

    /// Which packets are sent, and their numbers.
    private struct Numbering {
        var sampler: Sampler
        var limiter: RateLimiter?
        var last: UInt32 = 0
    }

    /// Longer than the longest frame that a block holds, with a tag.
    private static let workbenchByteCount = 1 << 20

    init(
        queueByteCount: Int, _ sampling: Sampling, bytesPerSecondMax: Int?, restoresWireForm: Bool
    ) throws(SystemError) {
        let queue = try ByteQueue(byteCountMax: queueByteCount)
        let workbench = try ByteQueue(byteCountMax: Self.workbenchByteCount)
        let tagged = try ByteQueue(byteCountMax: Self.workbenchByteCount)
        self.queue = queue
        self.workbench = .some(workbench)
        self.tagged = tagged
        numbering = Numbering(
            sampler: Sampler(sampling),
            limiter: bytesPerSecondMax.map { RateLimiter(bytesPerSecond: $0) })
        self.queueByteCount = queueByteCount
        self.restoresWireForm = restoresWireForm
    }

    mutating func set(_ sampling: Sampling) {
        numbering.sampler = Sampler(sampling)
    }

    /// Tells the limit of the feed the time, for all packets until it is told again.
    mutating func refill(now: UInt64) {
        numbering.limiter?.refill(now: now)
    }

    /// Whether the queue has room for a block's packets. A block holds more bytes than they have as
    /// they are: its own header for each of them is longer than ours. Segments have headers that
    /// super-frames have once; those that need more room than twice the block are seen to one by one.
    mutating func hasRoom(forBlock byteCount: Int, beside otherByteCount: Int) -> Bool {
        queue.makeRoom(for: (restoresWireForm ? 2 : 1) * byteCount + otherByteCount)
    }

    /// Queues a packet that stays as it is, up to a limit.
    @inline(__always)
    mutating func append(
        asItIs packet: borrowing RingPacket, _ limit: Int, _ tally: inout BlockCounts
    ) {
        guard limit > 0 else { return tally.filteredCount += 1 }
        let byteCount = min(packet.bytes.byteCount, limit)
        let time = packet.nanosecondsSince1970
        guard let number = Self.reserve(byteCount, time, in: &queue, &numbering, &tally) else {
            return
        }
        var record = queue.extend(by: PacketRecord.headerByteCount + byteCount)
        Self.store(packet, byteCount, number, into: &record)
        record.store(packet.bytes.extracting(first: byteCount), at: PacketRecord.headerByteCount)
    }

    /// Queues the whole of a packet that only lacks its checksum.
    @inline(__always)
    mutating func append(
        _ packet: borrowing RingPacket, finishing checksum: PlainChecksum,
        _ tally: inout BlockCounts
    ) {
        tally.finishedCount += 1
        let byteCount = packet.bytes.byteCount
        let time = packet.nanosecondsSince1970
        guard let number = Self.reserve(byteCount, time, in: &queue, &numbering, &tally) else {
            return
        }
        var record = queue.extend(by: PacketRecord.headerByteCount + byteCount)
        Self.store(packet, byteCount, number, into: &record)
        checksum.write(packet.bytes, into: &record, at: PacketRecord.headerByteCount)
    }

    @inline(__always)
    private static func store(
        _ packet: borrowing RingPacket, _ byteCount: Int, _ number: UInt32,
        into record: inout MutableRawSpan
    ) {
        PacketRecord.store(
            into: &record, seconds: packet.seconds, microseconds: packet.nanoseconds / 1000,
            byteCount: byteCount, wireByteCount: packet.wireByteCount, number: number)
    }

    /// Queues a packet, or nothing if the limit is 0: that is how many bytes of it are to be kept at
    /// most, or of each segment.
    mutating func append(_ packet: borrowing Packet, _ limit: Int, _ tally: inout BlockCounts) {
        guard limit > 0 else { return tally.filteredCount += 1 }
        guard restoresWireForm, packet.details.isUnfinished else {
            return Self.write(
                nil, packet.bytes, packet.details, limit, into: &queue, &numbering, &tally)
        }
        let form = WireForm(
            packet.bytes, wireByteCount: packet.details.wireByteCount, packet.details.offload,
            vlan: packet.details.vlan)
        Self.write(form, packet.bytes, packet.details, limit, into: &queue, &numbering, &tally)
    }

    /// Queues a packet that no filter has seen, perhaps in another form; the filter sees that one, and
    /// with the tag that the kernel has taken out, as on a wire.
    mutating func append(
        _ packet: borrowing Packet, _ translation: Translation?, _ filter: PacketFilter,
        at point: ObservationPoint, _ tally: inout BlockCounts
    ) {
        let needsTag = restoresWireForm && filter.program != nil && packet.details.vlan != nil
        guard translation != nil || needsTag else {
            return append(
                packet, filter.byteCount(packet.bytes, packet.details, at: point), &tally)
        }
        // While it is in use it is not this value's, so that the queue can be written to.
        guard var workbench = workbench.take() else { return }
        workbench.removeLast(workbench.byteCount)
        workbench.append(packet.bytes)
        if let translation { Self.apply(translation, to: packet, on: &workbench, restoresWireForm) }
        write(workbench, packet.details, filter, at: point, needsTag: needsTag, &tally)
        self.workbench = .some(workbench)
    }

    private mutating func write(
        _ workbench: borrowing ByteQueue, _ details: Packet.Details, _ filter: PacketFilter,
        at point: ObservationPoint, needsTag: Bool, _ tally: inout BlockCounts
    ) {
        let bytes = workbench.bytes
        let limit =
            needsTag
            ? taggedLimit(bytes, details, filter, at: point)
            : filter.byteCount(bytes, details, at: point)
        guard limit > 0 else { return tally.filteredCount += 1 }
        let form =
            restoresWireForm
            ? WireForm(
                bytes, wireByteCount: details.wireByteCount, details.offload, vlan: details.vlan)
            : nil
        Self.write(form, bytes, details, limit, into: &queue, &numbering, &tally)
    }

    private static func apply(
        _ translation: Translation, to packet: borrowing Packet, on workbench: inout ByteQueue,
        _ knowsOffload: Bool
    ) {
        guard let headers = Headers(packet.bytes).packet else { return }
        let isPartial =
            knowsOffload
            ? packet.details.offload.hasPartialChecksum(of: headers)
            : packet.details.hasPartialChecksum
        var bytes = workbench.last(packet.bytes.byteCount)
        translation.apply(to: &bytes, headers, hasPartialChecksum: isPartial)
    }

    /// How many bytes the filter keeps of a frame when it has its tag back.
    private mutating func taggedLimit(
        _ bytes: RawSpan, _ details: Packet.Details, _ filter: PacketFilter,
        at point: ObservationPoint
    ) -> Int {
        let form = WireForm(
            bytes, wireByteCount: details.wireByteCount, .none, vlan: details.vlan)
        tagged.removeLast(tagged.byteCount)
        var target = tagged.extend(by: form.byteCount)
        form.write(segment: 0, of: bytes, into: &target)
        return filter.byteCount(tagged.bytes, details.withTagInFrame, at: point)
    }

    /// Writes each segment of a form; nil leaves the frame as it was captured.
    ///
    /// Each is asked room for: the segments of one frame may take more than its share of the room that
    /// there is for a block.
    private static func write(
        _ form: WireForm?, _ bytes: RawSpan, _ details: Packet.Details, _ limit: Int,
        into queue: inout ByteQueue, _ numbering: inout Numbering, _ tally: inout BlockCounts
    ) {
        guard let form, form.repair != .none || form.tag != nil else {
            let byteCount = min(bytes.byteCount, limit)
            guard
                reserve(
                    details, byteCount, details.wireByteCount, in: &queue, &numbering, &tally)
            else { return }
            return queue.append(bytes.extracting(first: byteCount))
        }
        tally.add(form)
        let before = tally
        for index in 0..<form.segmentCount {
            let byteCount = min(form.byteCount(ofSegment: index), limit)
            guard
                reserve(
                    details, byteCount, form.wireByteCount(ofSegment: index), in: &queue,
                    &numbering, &tally)
            else { continue }
            var target = queue.extend(by: byteCount)
            form.write(segment: index, of: bytes, into: &target)
        }
        tally.addSegments(since: before)
    }

    /// Queues a packet's header, if the packet is to be sent and there is room for it.
    private static func reserve(
        _ details: Packet.Details, _ byteCount: Int, _ wireByteCount: Int,
        in queue: inout ByteQueue, _ numbering: inout Numbering, _ tally: inout BlockCounts
    ) -> Bool {
        let time = details.nanosecondsSince1970
        guard let number = reserve(byteCount, time, in: &queue, &numbering, &tally) else {
            return false
        }
        var header = queue.extend(by: PacketRecord.headerByteCount)
        PacketRecord.store(
            into: &header, nanoseconds: time, byteCount: byteCount, wireByteCount: wireByteCount,
            number: number)
        return true
    }

    /// The number of a packet of so many bytes that passed at this time, if it is to be sent and there
    /// is room for it. Packets are numbered as they are offered to the outlet: a client that finds a
    /// number missing knows that the network has lost one.
    @inline(__always)
    private static func reserve(
        _ byteCount: Int, _ nanosecondsSince1970: UInt64, in queue: inout ByteQueue,
        _ numbering: inout Numbering, _ tally: inout BlockCounts
    ) -> UInt32? {
        guard numbering.sampler.keeps(nanosecondsSince1970: nanosecondsSince1970) else {
            tally.sampledOutCount += 1
            return nil
        }
        let recordByteCount = PacketRecord.headerByteCount + byteCount
        guard numbering.limiter?.keeps(byteCount: recordByteCount) ?? true else {
            tally.limitedCount += 1
            return nil
        }
        guard queue.makeRoom(for: recordByteCount) else {
            tally.droppedCount += 1
            return nil
        }
        numbering.last &+= 1
        tally.packetCount += 1
        tally.byteCount += recordByteCount
        return numbering.last
    }

    /// A queue for as many bytes as the one at first.
    func wholeQueue() throws(SystemError) -> ByteQueue {
        try ByteQueue(byteCountMax: queueByteCount)
    }

    /// A queue for half of them, with room in front for the rest of another one.
    func halfQueue() throws(SystemError) -> ByteQueue {
        try ByteQueue(
            byteCountMax: queueByteCount / 2, headroomByteCount: Transmitter.restByteCountMax)
    }

    /// Goes on with another queue, which gets what waits in this one.
    mutating func move(to queue: consuming ByteQueue) {
        queue.append(self.queue.bytes)
        self.queue = queue
    }

    /// How many packets are in the queue and in what goes before it, one of which the rest is there
    /// among them.
    func queuedPacketCount(behind leftover: borrowing ByteQueue?) -> Int {
        let count = PacketRecord.count(in: queue.bytes, endingWith: numbering.last)
        let last = numbering.last &- UInt32(truncatingIfNeeded: count)
        switch leftover {
        case .none: return count
        case .some(let leftover):
            return count + PacketRecord.count(in: leftover.bytes, endingWith: last)
        }
    }
}
