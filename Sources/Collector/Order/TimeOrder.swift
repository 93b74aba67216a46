import Addressing
package import Linux
package import RPCAP
package import Time

/// Packets in the order of their time stamps, as far as a window reaches.
///
/// Each packet is held until one has come, of any agent, that is later by the window; if none comes,
/// until the window has passed. The time is cut into slots. A packet goes into the slot of its stamp,
/// and a slot is sorted when it is due. Packets with equal stamps stay in the order in which they came.
///
/// Stamps come from agents, and their clocks may be wrong:
///
/// * A stamp further ahead of this host's clock than the window counts as that far ahead. No stamp
///   lets other packets become due before this host's clock has come so far.
/// * A packet that is earlier than one that has been given out is late. It goes out at once.
/// * If for two windows nothing but late packets have come, and one is late by two windows, the clocks
///   have been put back. The order begins anew; packets are late until the clocks are there again.
///
/// The caller numbers the agents' devices: their lanes.
package struct TimeOrder: ~Copyable, Sendable {
    /// What happened to packets that are not in their place.
    package struct Counts: Equatable, Sendable {
        /// Packets that came when later ones had gone out.
        package var late: UInt64 = 0
        /// How much earlier than a packet before it one of them was at most, in nanoseconds.
        package var lateNanosecondsMax: UInt64 = 0
        /// Packets that went out before their time, since the memory was full.
        package var early: UInt64 = 0
        /// Packets with a stamp too far ahead of this host's clock, in the order in which they came.
        package var ahead: UInt64 = 0

        package init() {}
    }

    /// A packet that is held.
    private struct Entry {
        let key: UInt64
        /// Its number, modulo 2^32.
        let number: UInt32
        let place: FrameArena.Place

        func precedes(_ other: Self) -> Bool {
            if key != other.key { return key < other.key }
            return Int32(bitPattern: number &- other.number) < 0
        }
    }

    package private(set) var counts = Counts()
    /// The time for which packets wait for earlier ones.
    package let window: Duration
    /// The number of packets that are held.
    package private(set) var heldCount = 0
    private var heldCounts: [Int32] = []
    private var arena: FrameArena
    /// The slots from the first one on that has not been given out, as a ring.
    private var slots: [[Entry]] = []
    /// The packets of the first slot in their order, while they are given out, and how many have been.
    private var leaving: [Entry] = []
    private var leftCount = 0
    /// Storage of slots that were given out.
    private var spares: [[Entry]] = []
    /// The number of the first slot that has not been given out, counted from 1970 on.
    private var firstSlot: UInt64 = 0
    /// The width of a slot in nanoseconds, as a power of two.
    private let slotShift: UInt64
    private let windowNanoseconds: UInt64
    /// The latest stamp that has been given out since the order began, or began anew.
    private var given: UInt64 = 0
    /// The latest stamp that has been given out at all.
    private var givenMax: UInt64 = 0
    /// The latest stamp.
    private var latest: UInt64 = 0
    /// When the latest stamp came.
    private var latestAt = MonotonicTime.zero
    /// The time, as both clocks have it.
    private var now = MonotonicTime.zero
    private var clock: UInt64 = 0
    private var nextNumber: UInt32 = 0

    /// The most memory for packets: the window of 200,000,000 bytes a second has its place.
    package static let byteCountMax = 64 << 20
    /// The windows that are permitted.
    package static let windowRange = Duration.milliseconds(1)...Duration.seconds(10)
    /// The window by which agents are usually merged.
    ///
    /// An agent hands over packets of a silent edge after 180 ms, of others after 40 ms, and requests
    /// that nobody answers after 0.65 s.
    package static let standardWindow = Duration.seconds(1)
    /// Slots in a window: so many that few packets are sorted at once.
    private static let slotCountPerWindow: UInt64 = 128
    /// Slots of a ring: two windows' of twice the count above, since widths are powers of two.
    private static let slotCountMax: UInt64 = 1024
    /// How many packets ahead of its turn a packet is fetched from memory.
    private static let prefetchDistance = 4
    /// The bytes after which `release` lets the caller write, or begin another file.
    private static let portionByteCount = 48 << 10
    /// The most packets for which a slot's storage is kept; for more it is made anew.
    private static let keptCapacityMax = 4096

    /// Creates an order without packets.
    ///
    /// - Parameters:
    ///   - window: The time for which packets wait, within `windowRange`.
    ///   - byteCountMax: The most memory for packets; rounded up to a MiB.
    /// - Throws: The kernel's reason if there is no address space.
    package init(window: Duration, byteCountMax: Int = Self.byteCountMax) throws(SystemError) {
        let arena = try FrameArena(byteCountMax: byteCountMax)
        self.window = window
        windowNanoseconds = UInt64(max(1, window.clampedNanoseconds))
        let width = max(1, windowNanoseconds / Self.slotCountPerWindow)
        slotShift = UInt64(UInt64.bitWidth - 1 - width.leadingZeroBitCount)
        slots = Array(repeating: [], count: Int(Self.slotCountMax))
        self.arena = arena
    }

    /// Packets of a lane that are held.
    package func heldCount(of lane: UInt32) -> Int {
        lane < heldCounts.count ? Int(heldCounts[Int(lane)]) : 0
    }

    /// When to call `advance` and `release`, even if no packet comes; nil if none is held.
    package var deadline: MonotonicTime? {
        heldCount == 0 ? nil : now + max(window / 8, .milliseconds(1))
    }

    /// Records the time.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - clock: Nanoseconds since 1970, by this host's clock.
    package mutating func advance(now: MonotonicTime, clock: UInt64) {
        (self.now, self.clock) = (now, clock)
    }

    /// Adds a packet if nothing has to be given out for it, which is the rule.
    ///
    /// - Returns: Whether it was added; if not, `add` takes it.
    package mutating func addInPlace(
        _ frame: RawSpan, _ record: PacketRecord, lane: UInt32
    ) -> Bool {
        let key = record.nanosecondsSince1970
        let slot = key >> slotShift
        guard leaving.isEmpty, key <= clock &+ windowNanoseconds, key >= given, slot >= firstSlot,
            slot - firstSlot < Self.slotCountMax,
            frame.byteCount <= FrameArena.frameByteCountMax,
            let place = arena.store(frame, record, lane: lane)
        else { return false }
        if key > latest { (latest, latestAt) = (key, now) }
        hold(Entry(key: key, number: nextNumber, place: place), lane)
        return true
    }

    /// Adds a packet; calls `body` with it if it is late, and with others that have to make room.
    package mutating func add(
        _ frame: RawSpan, _ record: PacketRecord, lane: UInt32,
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) {
        if !leaving.isEmpty {
            var room = Int.max
            _ = releaseSlot(&room, body)
        }
        var key = record.nanosecondsSince1970
        let keyMax = clock &+ windowNanoseconds
        if key > keyMax {
            key = keyMax
            counts.ahead += 1
        }
        if key < given {
            guard given - key >= 2 * windowNanoseconds, passed >= 2 * windowNanoseconds else {
                return giveOut(frame, record, lane, key: key, body)
            }
            restart(at: key, body)
        } else if key >> slotShift < firstSlot {
            // Nothing later has gone out yet.
            guard max(latest, key) >> slotShift - key >> slotShift < Self.slotCountMax else {
                return giveOut(frame, record, lane, key: key, body)
            }
            firstSlot = key >> slotShift
        }
        if key > latest { (latest, latestAt) = (key, now) }
        if key >> slotShift - firstSlot >= Self.slotCountMax { _ = release(before: due, body) }
        let place = store(frame, record, lane, body)
        // Making room may have given its slot out.
        guard let place, key >> slotShift >= firstSlot else {
            if let place { arena.remove(place) }
            return giveOut(frame, record, lane, key: key, body)
        }
        hold(Entry(key: key, number: nextNumber, place: place), lane)
    }

    /// Gives out packets that are due, as many as fit into the CPU's cache until they are written.
    ///
    /// - Returns: Whether more are due.
    package mutating func release(
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> Bool {
        release(before: due, byteCountMax: Self.portionByteCount, body)
    }

    /// Gives out all packets.
    package mutating func releaseAll(_ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void) {
        _ = release(before: latest >> slotShift + 1, body)
    }

    /// Gives out packets whether they are due or not, as many as `release`.
    ///
    /// - Returns: Whether there are more.
    package mutating func releaseMore(
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> Bool {
        release(
            before: latest >> slotShift + 1, byteCountMax: Self.portionByteCount, body)
    }
}

extension TimeOrder {
    /// The first slot that is not due.
    private var due: UInt64 {
        let passed = passed
        let reached = latest &+ min(passed, 2 * windowNanoseconds)
        // A host whose clock was put back does not hold packets for as long as that.
        let time = passed >= 2 * windowNanoseconds ? reached : min(reached, clock)
        let due = time >= windowNanoseconds ? (time - windowNanoseconds) >> slotShift : 0
        // What has not come yet may be as early as the latest one.
        return min(due, latest >> slotShift + 1)
    }

    /// Nanoseconds since the latest stamp came.
    private var passed: UInt64 {
        now.nanoseconds - min(latestAt.nanoseconds, now.nanoseconds)
    }

    /// Records that a packet goes out; counts it if later ones have.
    private mutating func note(_ key: UInt64) {
        given = max(given, key)
        if key < givenMax {
            counts.late += 1
            counts.lateNanosecondsMax = max(counts.lateNanosecondsMax, givenMax - key)
        } else {
            givenMax = key
        }
    }

    /// Gives a packet out at once.
    private mutating func giveOut(
        _ frame: RawSpan, _ record: PacketRecord, _ lane: UInt32, key: UInt64,
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) {
        note(key)
        body(frame, record, lane)
    }

    /// Begins anew, with a stamp that is earlier than what has been given out.
    private mutating func restart(
        at key: UInt64, _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) {
        releaseAll(body)
        (latest, latestAt, given) = (key, now, 0)
        firstSlot = (key - min(key, windowNanoseconds)) >> slotShift
    }

    /// Copies a packet; gives out others until there is room.
    ///
    /// - Returns: Nil if it is too long for any place.
    private mutating func store(
        _ frame: RawSpan, _ record: PacketRecord, _ lane: UInt32,
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> FrameArena.Place? {
        guard frame.byteCount <= FrameArena.frameByteCountMax else { return nil }
        while true {
            if let place = arena.store(frame, record, lane: lane) { return place }
            guard heldCount > 0 else { return nil }
            _ = release(before: due, body)
            if let place = arena.store(frame, record, lane: lane) { return place }
            counts.early += releaseFirst(body)
        }
    }

    private mutating func hold(_ entry: Entry, _ lane: UInt32) {
        let slot = Int((entry.key >> slotShift) % Self.slotCountMax)
        if slots[slot].isEmpty, let spare = spares.popLast() { slots[slot] = spare }
        slots[slot].append(entry)
        nextNumber &+= 1
        heldCount += 1
        while lane >= heldCounts.count { heldCounts.append(0) }
        heldCounts[Int(lane)] += 1
    }

    /// Gives out the packets of all slots before one, or as many as have `byteCountMax` bytes.
    ///
    /// - Returns: Whether there are more.
    private mutating func release(
        before end: UInt64, byteCountMax: Int = .max,
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> Bool {
        var room = byteCountMax
        while firstSlot < end, heldCount > 0 {
            guard releaseSlot(&room, body) else { return true }
        }
        firstSlot = max(firstSlot, end)
        return false
    }

    /// Gives out the first slot that has packets, and returns how many it had.
    private mutating func releaseFirst(
        _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> UInt64 {
        let count = heldCount
        var room = Int.max
        while heldCount == count { _ = releaseSlot(&room, body) }
        return UInt64(count - heldCount)
    }

    /// Gives out the packets of the first slot, as many as `room` bytes are for, and moves on behind it.
    ///
    /// - Returns: Whether it had no more.
    private mutating func releaseSlot(
        _ room: inout Int, _ body: (RawSpan, PacketRecord, _ lane: UInt32) -> Void
    ) -> Bool {
        if leaving.isEmpty {
            swap(&leaving, &slots[Int(firstSlot % Self.slotCountMax)])
            leaving.sort { $0.precedes($1) }
            leftCount = 0
        }
        while leftCount < leaving.count {
            guard room > 0 else { return false }
            let next = leftCount + Self.prefetchDistance
            if next < leaving.count { arena.prefetch(leaving[next].place) }
            let entry = leaving[leftCount]
            note(entry.key)
            let lane = arena.take(entry.place) { frame, record, lane in
                room -= frame.byteCount
                body(frame, record, lane)
            }
            heldCounts[Int(lane)] -= 1
            heldCount -= 1
            leftCount += 1
        }
        firstSlot += 1
        keepStorage()
        return true
    }

    /// Keeps the storage of a slot that has been given out.
    private mutating func keepStorage() {
        guard leaving.capacity > 0 else { return }
        var entries: [Entry] = []
        swap(&entries, &leaving)
        guard entries.capacity <= Self.keptCapacityMax else { return }
        entries.removeAll(keepingCapacity: true)
        spares.append(entries)
    }
}
