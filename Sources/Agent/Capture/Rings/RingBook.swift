import BPF
import PacketRing
import Glibc
import Linux
import Observation

/// Which rings a keeper has open, and what memory they take. It belongs to the keeper's thread.
struct RingBook {
    private(set) var budget: RingBudget
    /// The version of the node that has been followed last.
    var version = 0
    /// Whether a person has been told that there is not enough memory.
    var hasWarned = false
    private var rings: [UInt64: OpenRing] = [:]
    private var closing: [ClosingRing] = []
    /// Until when places are not tried again.
    private var failedUntil: [UInt64: UInt64] = [:]
    /// By what error places could not be captured the last time: a person is told once.
    private var failures: [UInt64: Ring.Failure] = [:]
    /// Edges that share one ring, and the hold on that.
    private(set) var crowd: [Place] = []
    var crowdLease: TransferBox<RingLease>?
    /// Whether a person has been told that these are not captured.
    var hasWarnedOfCrowd = false

    /// A ring that was not pressed for so long can do with less.
    private static let idleNanoseconds: UInt64 = 10_000_000_000
    private static let retryNanoseconds: UInt64 = 1_000_000_000
    /// A ring that has just grown is not looked at again before it has shown what it can do.
    private static let calmNanoseconds: UInt64 = 200_000_000
    /// Each time that a successor was too small it is tried later, at last after 13 s.
    private static let keptCountMax = 6

    init(_ budget: RingBudget) { self.budget = budget }

    var isEmpty: Bool { rings.isEmpty }

    /// Memory of the rings there are; what is set aside for the crowd counts when it has a ring.
    var ringByteCount: Int {
        budget.usedByteCount - (crowdLease == nil ? RingBudget.smallest.byteCount : 0)
    }

    func ring(_ life: UInt64) -> OpenRing? { rings[life] }

    /// The rings whose edges are gone; each is named once.
    mutating func livesGone(from places: [Place]) -> [UInt64] {
        let lives = Set(places.map(\.life))
        failures = failures.filter { lives.contains($0.key) }
        return rings.values.filter { !lives.contains($0.place.life) && !$0.isLeaving }.map { ring in
            ring.isLeaving = true
            return ring.place.life
        }
    }

    /// Takes memory for the places that have no ring yet. Those that there is none for join the
    /// crowd, where they stay. Answers whether that has changed.
    mutating func take(
        _ places: [Place], now: UInt64
    ) -> (wanted: [(place: Place, shape: Ring.Shape)], isCrowdChanged: Bool) {
        failedUntil = failedUntil.filter { $0.value > now }
        let crowded = Set(crowd.map(\.life))
        var wanted: [(Place, Ring.Shape)] = []
        var left: [Place] = []
        for place in places where rings[place.life] == nil && place.isUp {
            guard failedUntil[place.life] == nil else { continue }
            if !crowded.contains(place.life), let shape = budget.first(now: now) {
                wanted.append((place, shape))
            } else {
                left.append(place)
            }
        }
        defer { crowd = left }
        return (wanted, left != crowd)
    }

    /// Answers whether the ring had to be tried more often than once.
    mutating func isOpen(
        _ place: Place, _ shape: Ring.Shape, _ lease: consuming RingLease
    ) -> Bool {
        rings[place.life] = OpenRing(place, shape.byteCount, lease)
        return failures.removeValue(forKey: place.life) != nil
    }

    /// Takes note that a ring could not be opened, and is to be tried again. Answers whether that has not
    /// been so before, for the same reason.
    mutating func hasFailed(
        _ place: Place, _ shape: Ring.Shape, _ error: Ring.Failure, now: UInt64
    ) -> Bool {
        budget.giveBack(shape.byteCount)
        if error == .noMemory { budget.isExhausted(now: now) }
        // Of an interface that is up again an event tells.
        if error != .interfaceDown { failedUntil[place.life] = now + Self.retryNanoseconds }
        // An edge that has gone, or down, in the meantime is no failure.
        guard !error.isInterfaceAbsent else { return false }
        return failures.updateValue(error, forKey: place.life) != error
    }

    /// Whether something is to be tried again in a while.
    var hasFailures: Bool { !failedUntil.isEmpty || lacksCrowd }

    /// Whether there are edges without memory, and nothing serves them.
    var lacksCrowd: Bool { crowdLease == nil && !crowd.isEmpty }

    /// Takes note that the forwarder has let go of a ring: the one before another, or the last one.
    mutating func isDone(_ life: UInt64, wasFollowed: Bool, _ handover: TransferBox<Ring>?) {
        guard let ring = rings[life] else { return }
        budget.giveBack(ring.byteCount)
        closing.append(ClosingRing(ring: handover, lease: ring.lease))
        if wasFollowed {
            ring.becomesSuccessor()
        } else {
            isAbandoned(ring)
            rings[life] = nil
        }
    }

    /// Takes note that the forwarder has let go of a ring that was to follow another.
    mutating func isKept(_ life: UInt64, _ next: TransferBox<Ring>?) {
        guard let ring = rings[life] else {
            return closing.append(ClosingRing(ring: next, lease: nil))
        }
        ring.keptCount = min(ring.keptCount + 1, Self.keptCountMax)
        isAbandoned(ring, next)
    }

    /// Gives up on a ring that was to follow another.
    mutating func isAbandoned(_ ring: OpenRing, _ next: TransferBox<Ring>? = nil) {
        budget.giveBack(ring.nextByteCount)
        ring.nextByteCount = 0
        closing.append(ClosingRing(ring: next, lease: ring.nextLease))
        ring.nextLease = nil
        ring.stamps = nil
    }

    mutating func takeClosing() -> [ClosingRing] {
        defer { closing = [] }
        return closing
    }

    mutating func takeAll() -> [ClosingRing] {
        let leases = rings.values.flatMap { [$0.lease, $0.nextLease] } + [crowdLease]
        return closing + leases.map { ClosingRing(ring: nil, lease: $0) }
    }

    /// A ring and what is to take its place.
    struct Change {
        let ring: OpenRing
        let shape: Ring.Shape
    }

    /// Takes memory for a larger ring in the place of one that is pressed. Where there is none, takes
    /// it for smaller ones in the place of those that are idle, so that there is some the next time.
    mutating func press(
        _ life: UInt64, now: UInt64
    ) -> (growing: Change?, shrinking: [Change]) {
        guard let ring = rings[life], !ring.isLeaving, ring.nextByteCount == 0,
            now >= ring.pressedAt + Self.calmNanoseconds << UInt64(ring.keptCount)
        else { return (nil, []) }
        ring.pressedAt = now
        if let shape = budget.larger(than: ring.byteCount, failureCount: ring.keptCount) {
            ring.nextByteCount = shape.byteCount
            return (Change(ring: ring, shape: shape), [])
        }
        guard budget.canGrow(ring.byteCount) else { return (nil, []) }
        var shrinking: [Change] = []
        for other in rings.values.sorted(by: { $0.pressedAt < $1.pressedAt }).prefix(16) {
            guard now >= other.pressedAt + Self.idleNanoseconds, other.nextByteCount == 0,
                !other.isLeaving, other.byteCount > RingBudget.smallest.byteCount,
                let shape = budget.smallest()
            else { continue }
            other.nextByteCount = shape.byteCount
            shrinking.append(Change(ring: other, shape: shape))
        }
        return (nil, shrinking)
    }
}

/// A ring that nobody uses any more, and the last hold on it.
struct ClosingRing: Sendable {
    let ring: TransferBox<Ring>?
    let lease: TransferBox<RingLease>?

    /// Waits for the kernel.
    func close() {
        _ = ring?.take()
        _ = lease?.take()
    }
}

/// A ring that is open, or two while one is taking the other one's place.
final class OpenRing {
    let place: Place
    private(set) var byteCount: Int
    private(set) var lease: TransferBox<RingLease>?
    /// The memory of the ring that is to follow; 0 if none is.
    var nextByteCount = 0
    var nextLease: TransferBox<RingLease>?
    var pressedAt: UInt64 = 0
    /// Whether a person has been told that it cannot become another one.
    var hasWarned = false
    var isLeaving = false
    /// How many successors have been given up in a row.
    var keptCount = 0
    /// As long as there are two.
    var stamps: TransferBox<PacketStamps>?

    init(_ place: Place, _ byteCount: Int, _ lease: consuming RingLease) {
        self.place = place
        self.byteCount = byteCount
        self.lease = TransferBox(lease)
    }

    /// Opens a ring that gets nothing yet. Waits for the kernel.
    func opensSuccessor(
        _ shape: Ring.Shape, tellsOffload: Bool
    ) throws(Ring.Failure) -> Ring {
        do throws(SystemError) {
            stamps = TransferBox(try PacketStamps())
        } catch {
            throw .system(error)
        }
        let ring = try Ring(
            on: place.point.interfaceIndex, Program.keepNothing, shape: shape,
            tellsOffload: tellsOffload)
        nextLease = TransferBox(try ring.lease())
        return ring
    }

    func becomesSuccessor() {
        lease = nextLease
        byteCount = nextByteCount
        nextLease = nil
        nextByteCount = 0
        stamps = nil
        keptCount = 0
    }
}
