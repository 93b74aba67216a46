import Addressing
import Linux
import RPCAP

/// A bounded store of packets that go out in another order than they came in.
///
/// It consists of chunks. A chunk is used again when all its packets are gone, the one that became
/// free last first, so that little traffic stays within memory that the CPU's cache has.
struct FrameArena: ~Copyable, Sendable {
    private var memory: PageMemory
    /// The packets of each chunk.
    private var packetCounts: [Int]
    /// The chunks without packets but the current one.
    private var free: [Int]
    private var current: Int?
    /// Where the next packet goes, in the current chunk.
    private var end = 0

    /// A packet's place: where its header begins, in units of four bytes.
    struct Place: Sendable {
        fileprivate let value: UInt32

        fileprivate init(offset: Int) { value = UInt32(truncatingIfNeeded: offset / 4) }

        fileprivate var offset: Int { Int(value) * 4 }
    }

    /// A chunk's size, four times that of the longest packet: at most a quarter of it stays unused.
    private static let chunkByteCount = 1 << 20
    /// The longest frame that has a place, the most that agents may be asked for.
    static let frameByteCountMax = StartRequest.snaplenMax

    /// Creates an arena; memory is taken as it is used.
    ///
    /// - Parameter byteCountMax: The most memory that it takes; rounded up to whole chunks.
    /// - Throws: The kernel's reason if there is no address space.
    init(byteCountMax: Int) throws(SystemError) {
        let count = max(1, (byteCountMax + Self.chunkByteCount - 1) / Self.chunkByteCount)
        let memory = try PageMemory(byteCount: count * Self.chunkByteCount)
        packetCounts = Array(repeating: 0, count: count)
        // The first one is taken first.
        free = Array((0..<count).reversed())
        self.memory = memory
    }

    /// Copies a packet.
    ///
    /// - Parameters:
    ///   - frame: The frame, of at most `frameByteCountMax` bytes.
    ///   - record: Its header.
    ///   - lane: A number that is kept with it.
    /// - Returns: Its place; nil if there is no room.
    mutating func store(_ frame: RawSpan, _ record: PacketRecord, lane: UInt32) -> Place? {
        let byteCount = PacketRecord.headerByteCount + frame.byteCount
        guard let chunk = chunk(withRoomFor: byteCount) else { return nil }
        let offset = end
        var bytes = memory.change()
        record.store(into: &bytes, lane: lane, frameByteCount: frame.byteCount, at: offset)
        bytes.store(frame, at: offset + PacketRecord.headerByteCount)
        packetCounts[chunk] += 1
        end = (offset + byteCount + 3) & ~3
        return Place(offset: offset)
    }

    /// Takes a packet out, after `body` had it; the frame is lent for the call.
    ///
    /// - Returns: Its lane.
    mutating func take(
        _ place: Place, _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> UInt32 {
        let lane = read(at: place.offset, body)
        remove(place)
        return lane
    }

    /// Removes a packet.
    mutating func remove(_ place: Place) {
        let chunk = place.offset / Self.chunkByteCount
        packetCounts[chunk] -= 1
        if packetCounts[chunk] == 0 {
            if chunk == current {
                end = chunk * Self.chunkByteCount
            } else {
                free.append(chunk)
            }
        }
    }

    /// Has the CPU fetch the beginning of a packet that is taken soon.
    ///
    /// Packets lie in the order in which they came, and nothing else foresees the order in which they
    /// go.
    func prefetch(_ place: Place) {
        let end = min(place.offset + Self.prefetchedByteCount, memory.byteCount)
        memory.prefetch(place.offset..<end)
    }

    /// The length of most packets that are short; of long ones the CPU fetches the rest by itself.
    private static let prefetchedByteCount = 384

    private func read(
        at offset: Int, _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> UInt32 {
        let bytes = memory.bytes
        let head = bytes.extracting(offset..<offset + PacketRecord.headerByteCount)
        let record = PacketRecord(packetHeader: head.extracting(droppingFirst: 8))
        let start = offset + PacketRecord.headerByteCount
        let lane = head.uint32(at: 0)
        body(bytes.extracting(start..<start + record.byteCount), record, lane)
        return lane
    }

    /// The chunk that has room for a number of bytes; nil if none has.
    private mutating func chunk(withRoomFor byteCount: Int) -> Int? {
        if let current {
            if end + byteCount <= (current + 1) * Self.chunkByteCount { return current }
            if packetCounts[current] == 0 { free.append(current) }
        }
        current = free.popLast()
        if let current { end = current * Self.chunkByteCount }
        return current
    }
}

extension PacketRecord {
    /// Writes the header with a number in the place of the message's type.
    fileprivate func store(
        into bytes: inout MutableRawSpan, lane: UInt32, frameByteCount: Int, at offset: Int
    ) {
        func store(_ value: UInt32, _ field: Int) {
            bytes.storeBytes(
                of: value.bigEndian, toByteOffset: offset + field, as: UInt32.self)
        }
        store(lane, 0)
        store(seconds, 8)
        store(microseconds, 12)
        store(UInt32(truncatingIfNeeded: frameByteCount), 16)
        store(UInt32(truncatingIfNeeded: wireByteCount), 20)
        store(number, 24)
    }
}
