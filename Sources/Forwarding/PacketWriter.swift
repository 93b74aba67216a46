import Addressing
import Linux
import Observation
import PacketRing
import Packets
import RPCAP
import Time

/// Writes packets into the send queue, each behind its header and in the form that a wire would carry.
///
/// GSO packets are cut into segments, partial checksums are finished, VLAN tags are put back. Each
/// byte is read and written once, and nothing is allocated. The value belongs to the forwarder's
/// thread.
struct PacketWriter: ~Copyable {
    /// A frame that is changed before it is written; its memory is taken with the first one.
    private var scratch: ByteQueue?
    /// The same frame with its VLAN tag, for a filter.
    private var taggedScratch: ByteQueue
    private var numbering: Numbering
    /// Whether frames get the form that a wire would carry, or stay as captured.
    let restoresWireForm: Bool

    /// Which packets are sent, and their numbers.
    private struct Numbering {
        var sampler: Sampler { didSet { admitsAll = sampler.admitsAll && limiter == nil } }
        var limiter: RateLimiter?
        var last: UInt32 = 0
        /// Whether there is neither sampling nor a limit, as in most captures.
        private(set) var admitsAll: Bool

        init(_ sampler: Sampler, _ limiter: RateLimiter?) {
            (self.sampler, self.limiter) = (sampler, limiter)
            admitsAll = sampler.admitsAll && limiter == nil
        }
    }

    /// Longer than the longest frame that a block holds, with a tag.
    private static let scratchByteCount = Int(Ring.Shape.blockByteCountMax)

    init(
        _ sampling: Sampling, bytesPerSecondMax: Int?, restoresWireForm: Bool
    ) throws(SystemError) {
        let scratch = try ByteQueue(byteCountMax: Self.scratchByteCount)
        let taggedScratch = try ByteQueue(byteCountMax: Self.scratchByteCount)
        self.scratch = .some(scratch)
        self.taggedScratch = taggedScratch
        numbering = Numbering(
            Sampler(sampling), bytesPerSecondMax.map { RateLimiter(bytesPerSecond: $0) })
        self.restoresWireForm = restoresWireForm
    }

    /// The number of the packet that was queued last.
    var lastNumber: UInt32 { numbering.last }

    /// Changes the sampling; the same one goes on as it was.
    mutating func set(_ sampling: Sampling) {
        guard sampling != numbering.sampler.sampling else { return }
        numbering.sampler = Sampler(sampling)
    }

    /// Numbers further packets from another one on.
    mutating func set(lastNumber: UInt32) { numbering.last = lastNumber }

    /// Refills the rate limiter, for all packets until the next call.
    mutating func refill(now: MonotonicTime) {
        numbering.limiter?.refill(now: now)
    }

    /// The room in the queue that the packets of a block need.
    ///
    /// A block holds more bytes than its packets as they are: its own header for each is longer than
    /// ours. Segments have headers that their GSO packet has once; a packet whose segments need more
    /// than twice its share of the block is checked segment by segment.
    func byteCountMax(ofBlock byteCount: Int) -> Int { (restoresWireForm ? 2 : 1) * byteCount }

    /// Queues a packet that stays as it is, up to a limit.
    @inline(__always)
    mutating func append(
        asItIs packet: borrowing RingPacket, _ limit: Int, to queue: inout ByteQueue,
        _ counts: inout BlockCounts
    ) {
        guard limit > 0 else {
            counts.filteredCount += 1
            return
        }
        let byteCount = min(packet.bytes.byteCount, limit)
        let time = packet.nanosecondsSince1970
        guard Self.admits(byteCount, time, &numbering, &counts) else { return }
        guard
            var record = queue.extendIfPossible(by: PacketRecord.headerByteCount + byteCount)
        else {
            counts.droppedCount += 1
            return
        }
        let number = Self.takeNumber(byteCount, &numbering, &counts)
        Self.store(packet, byteCount, number, into: &record)
        record.store(packet.bytes.extracting(first: byteCount), at: PacketRecord.headerByteCount)
    }

    /// Queues the whole of a packet that only lacks its checksum.
    @inline(__always)
    mutating func append(
        _ packet: borrowing RingPacket, finishing checksum: PlainChecksum,
        to queue: inout ByteQueue, _ counts: inout BlockCounts
    ) {
        counts.finishedCount += 1
        let byteCount = packet.bytes.byteCount
        let time = packet.nanosecondsSince1970
        guard Self.admits(byteCount, time, &numbering, &counts) else { return }
        guard
            var record = queue.extendIfPossible(by: PacketRecord.headerByteCount + byteCount)
        else {
            counts.droppedCount += 1
            return
        }
        let number = Self.takeNumber(byteCount, &numbering, &counts)
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

    /// Queues a packet that the filter has seen.
    ///
    /// - Parameters:
    ///   - packet: The packet.
    ///   - limit: The most bytes to keep of it, or of each of its segments; 0 for nothing.
    ///   - queue: The send queue.
    ///   - counts: Counts what becomes of the packet.
    mutating func append(
        _ packet: borrowing Packet, _ limit: Int, to queue: inout ByteQueue,
        _ counts: inout BlockCounts
    ) {
        guard limit > 0 else {
            counts.filteredCount += 1
            return
        }
        guard !packet.details.isCutByBlock else {
            counts.cutCount += 1
            return
        }
        guard restoresWireForm, packet.details.isUnfinished else {
            return Self.write(
                nil, packet.bytes, packet.details, limit, into: &queue, &numbering, &counts)
        }
        if limit >= packet.bytes.byteCount, let checksum = packet.plainChecksum {
            return append(packet, finishing: checksum, to: &queue, &counts)
        }
        let form = WireForm(
            packet.bytes, wireByteCount: packet.details.wireByteCount, packet.details.offload,
            vlan: packet.details.vlan)
        Self.write(form, packet.bytes, packet.details, limit, into: &queue, &numbering, &counts)
    }

    private mutating func append(
        _ packet: borrowing Packet, finishing checksum: PlainChecksum, to queue: inout ByteQueue,
        _ counts: inout BlockCounts
    ) {
        counts.finishedCount += 1
        let byteCount = packet.bytes.byteCount
        guard
            Self.reserve(packet.details, byteCount, byteCount, in: &queue, &numbering, &counts)
        else { return }
        var target = queue.extend(by: byteCount)
        checksum.write(packet.bytes, into: &target, at: 0)
    }

    /// Queues a packet that no filter has seen, perhaps with translated addresses.
    ///
    /// The filter sees the packet as on a wire: translated, and with the tag that the kernel took out.
    mutating func append(
        _ packet: borrowing Packet, _ translation: Translation?, _ filter: PacketFilter,
        at interfaceIndex: UInt32, to queue: inout ByteQueue, _ counts: inout BlockCounts
    ) {
        let needsTag = restoresWireForm && filter.program != nil && packet.details.vlan != nil
        guard translation != nil || needsTag else {
            return append(
                packet, filter.byteCount(packet.bytes, packet.details, at: interfaceIndex),
                to: &queue,
                &counts)
        }
        // Taken out while it is in use, so that `self` can be changed.
        guard var scratch = scratch.take() else { return }
        scratch.removeLast(scratch.byteCount)
        scratch.append(packet.bytes)
        if let translation {
            apply(translation, to: packet, in: &scratch)
        }
        write(
            scratch, packet.details, filter, at: interfaceIndex, needsTag: needsTag, to: &queue,
            &counts)
        self.scratch = .some(scratch)
    }

    private mutating func write(
        _ scratch: borrowing ByteQueue, _ details: Packet.Details, _ filter: PacketFilter,
        at interfaceIndex: UInt32, needsTag: Bool, to queue: inout ByteQueue,
        _ counts: inout BlockCounts
    ) {
        let bytes = scratch.bytes
        let limit =
            needsTag
            ? taggedLimit(bytes, details, filter, at: interfaceIndex)
            : filter.byteCount(bytes, details, at: interfaceIndex)
        guard limit > 0 else {
            counts.filteredCount += 1
            return
        }
        guard !details.isCutByBlock else {
            counts.cutCount += 1
            return
        }
        let form =
            restoresWireForm
            ? WireForm(
                bytes, wireByteCount: details.wireByteCount, details.offload, vlan: details.vlan)
            : nil
        Self.write(form, bytes, details, limit, into: &queue, &numbering, &counts)
    }

    private func apply(
        _ translation: Translation, to packet: borrowing Packet, in scratch: inout ByteQueue
    ) {
        guard let headers = Headers(packet.bytes).packet else { return }
        let isPartial =
            restoresWireForm
            ? packet.details.offload.hasPartialChecksum(of: headers)
            : packet.details.hasPartialChecksum
        var bytes = scratch.last(packet.bytes.byteCount)
        translation.apply(to: &bytes, headers, hasPartialChecksum: isPartial)
    }

    /// The number of bytes that the filter keeps of a frame once its tag is back.
    private mutating func taggedLimit(
        _ bytes: RawSpan, _ details: Packet.Details, _ filter: PacketFilter,
        at interfaceIndex: UInt32
    ) -> Int {
        let form = WireForm(
            bytes, wireByteCount: details.wireByteCount, .none, vlan: details.vlan)
        taggedScratch.removeLast(taggedScratch.byteCount)
        var target = taggedScratch.extend(by: form.byteCount)
        form.write(segment: 0, of: bytes, into: &target)
        return filter.byteCount(taggedScratch.bytes, details.withTagInFrame, at: interfaceIndex)
    }

    /// Writes each segment of a form; nil leaves the frame as it was captured.
    ///
    /// Room is checked for each, since the segments of one frame may take more than its share of the
    /// room for a block.
    private static func write(
        _ form: WireForm?, _ bytes: RawSpan, _ details: Packet.Details, _ limit: Int,
        into queue: inout ByteQueue, _ numbering: inout Numbering, _ counts: inout BlockCounts
    ) {
        guard let form, form.repair != .none || form.tag != nil else {
            let byteCount = min(bytes.byteCount, limit)
            guard
                reserve(
                    details, byteCount, details.wireByteCount, in: &queue, &numbering, &counts)
            else { return }
            return queue.append(bytes.extracting(first: byteCount))
        }
        counts.add(form)
        if append(all: form, bytes, details, limit, to: &queue, &numbering, &counts) { return }
        let before = counts
        for index in 0..<form.segmentCount {
            let byteCount = min(form.byteCount(ofSegment: index), limit)
            guard
                reserve(
                    details, byteCount, form.wireByteCount(ofSegment: index), in: &queue,
                    &numbering, &counts)
            else { continue }
            var target = queue.extend(by: byteCount)
            form.write(segment: index, of: bytes, into: &target)
        }
        counts.addSegments(since: before)
    }

    /// Queues all segments of a GSO packet whole, if each is sent and there is room for all of them.
    ///
    /// - Returns: False if nothing was queued.
    private static func append(
        all form: WireForm, _ bytes: RawSpan, _ details: Packet.Details, _ limit: Int,
        to queue: inout ByteQueue, _ numbering: inout Numbering, _ counts: inout BlockCounts
    ) -> Bool {
        let recordsByteCount = form.segmentCount * PacketRecord.headerByteCount + form.byteCount
        guard numbering.admitsAll, queue.hasRoom(for: recordsByteCount),
            let run = SegmentRun(form, of: bytes), run.byteCountMax <= limit
        else { return false }
        let (seconds, rest) = details.nanosecondsSince1970.quotientAndRemainder(
            dividingBy: 1_000_000_000)
        let microseconds = UInt32(truncatingIfNeeded: rest / 1000)
        var number = numbering.last
        for index in 0..<run.count {
            let byteCount = run.byteCount(of: index)
            number &+= 1
            var record = queue.extend(by: PacketRecord.headerByteCount + byteCount)
            PacketRecord.store(
                into: &record, seconds: UInt32(truncatingIfNeeded: seconds),
                microseconds: microseconds, byteCount: byteCount, wireByteCount: byteCount,
                number: number)
            run.write(index, of: bytes, into: &record, at: PacketRecord.headerByteCount)
        }
        numbering.last = number
        counts.addSegments(count: run.count, byteCount: recordsByteCount)
        return true
    }

    /// Queues a packet's header, if the packet is sent and there is room for it.
    private static func reserve(
        _ details: Packet.Details, _ byteCount: Int, _ wireByteCount: Int,
        in queue: inout ByteQueue, _ numbering: inout Numbering, _ counts: inout BlockCounts
    ) -> Bool {
        let time = details.nanosecondsSince1970
        guard admits(byteCount, time, &numbering, &counts) else { return false }
        guard queue.hasRoom(for: PacketRecord.headerByteCount + byteCount) else {
            counts.droppedCount += 1
            return false
        }
        let number = takeNumber(byteCount, &numbering, &counts)
        var header = queue.extend(by: PacketRecord.headerByteCount)
        PacketRecord.store(
            into: &header, nanoseconds: time, byteCount: byteCount, wireByteCount: wireByteCount,
            number: number)
        return true
    }

    /// Decides whether a packet is sent; if not, it is counted.
    @inline(__always)
    private static func admits(
        _ byteCount: Int, _ nanosecondsSince1970: UInt64, _ numbering: inout Numbering,
        _ counts: inout BlockCounts
    ) -> Bool {
        numbering.admitsAll || admit(byteCount, nanosecondsSince1970, &numbering, &counts)
    }

    /// Takes the number of a packet for which there is room, and counts it.
    ///
    /// Packets are numbered as they are queued, so a client that misses a number knows that the
    /// network has lost a packet.
    @inline(__always)
    private static func takeNumber(
        _ byteCount: Int, _ numbering: inout Numbering, _ counts: inout BlockCounts
    ) -> UInt32 {
        numbering.last &+= 1
        counts.packetCount += 1
        counts.byteCount += PacketRecord.headerByteCount + byteCount
        return numbering.last
    }

    /// Asks the sampler and the rate limiter, and counts the packet if one of them leaves it out.
    private static func admit(
        _ byteCount: Int, _ nanosecondsSince1970: UInt64, _ numbering: inout Numbering,
        _ counts: inout BlockCounts
    ) -> Bool {
        guard numbering.sampler.admit(nanosecondsSince1970: nanosecondsSince1970) else {
            counts.sampledOutCount += 1
            return false
        }
        let recordByteCount = PacketRecord.headerByteCount + byteCount
        guard numbering.limiter?.admit(byteCount: recordByteCount) ?? true else {
            counts.limitedCount += 1
            return false
        }
        return true
    }
}
