import BPF
import Capture
import Glibc
import Kernel
import Observation

/// A place and the ring that is open there. It belongs to the forwarder's thread.
final class Tap {
    var place: Place
    /// What became of its frames, through all its rings.
    let account = FrameAccount()
    /// Nil when it has been handed back.
    var ring: Ring?
    /// The ring's, for the poller.
    private(set) var number: CInt
    /// When it was said last that the ring is close to full.
    private var pressedAt: UInt64 = 0
    private(set) var program: EdgeProgram
    /// Which version of the plan the program is made from; 0 for none.
    private(set) var planVersion: Int
    /// When a program was replaced that left more to user space, or other things, than the present
    /// one; what passed it may be in the ring.
    private var leftAt: UInt64?
    /// When it was to let nothing more in, because its edge is gone.
    private(set) var endedAt: UInt64?
    /// The ring that is to take this one's place, and since when it gets the packets.
    private(set) var successor: Ring?
    private var succeededAt: UInt64?
    /// How many frames have come out of the ring, and how many the kernel has put in, as far as it has
    /// been asked.
    private var readCount = 0
    private var putCount = 0

    /// The program may have been made from another plan.
    init(_ place: Place, _ ring: consuming Ring, _ program: EdgeProgram) {
        self.place = place
        number = ring.number
        self.ring = .some(ring)
        // The plan may have changed since the program was made.
        leftAt = monotonicNanoseconds()
        self.program = program
        planVersion = 0
    }

    /// Whether the kernel has decided about all that the ring holds, but for what it says itself.
    var isDecided: Bool { program.decides && leftAt == nil }

    /// Whether the kernel has shown all of that to the sensor's filter.
    var isFiltered: Bool { program.includesFilter && leftAt == nil }

    /// Has the next `adopt` look at the program whatever the plan's version is.
    func isMoved(to place: Place) {
        if place.point.podMAC != self.place.point.podMAC { planVersion = 0 }
        self.place = place
    }

    /// Puts the plan's program in force, between two packets.
    ///
    /// For a moment the old and the new one count against what the kernel allows a socket. Where
    /// that is too much, the smallest one takes the old one's place first; where the new one alone
    /// is, the plan is to make shorter ones.
    func adopt(_ plan: inout ProgramPlan) throws(SystemError) {
        guard planVersion != plan.version, endedAt == nil else { return }
        var next = plan.program(at: place.point)
        while next != program {
            if try replaces(with: next) { break }
            if program == .undecided {
                plan.shrink(below: next)
                next = plan.program(at: place.point)
            } else if try !replaces(with: .undecided) {
                throw SystemError(Descriptor.attachOperation, ENOMEM)
            }
        }
        planVersion = plan.version
    }

    /// Answers false if there is no room for the program.
    private func replaces(with next: EdgeProgram) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try ring?.attach(next.program)
            try successor?.attach(next.program)
            if !program.decides || !program.includesFilter { leftAt = monotonicNanoseconds() }
            program = next
            return true
        } catch {
            guard error.code == ENOMEM else { throw error }
            return false
        }
    }

    /// Takes note of so many frames that have come out of the ring.
    func hasRead(_ count: Int) { readCount += count }

    /// What the kernel has counted since the last time; nil if there is no ring.
    func takeStatistics() throws(SystemError) -> Ring.Statistics? {
        guard let statistics = try ring?.takeStatistics() else { return nil }
        putCount += Int(statistics.received) - Int(statistics.dropped)
        return statistics
    }

    /// Whether the ring is close to full; once in a while, as it takes time to do something about it.
    func isPressed() -> Bool {
        guard ring?.isHalfFull == true else { return false }
        let now = monotonicNanoseconds()
        guard now >= pressedAt + Self.pressureNanoseconds else { return false }
        pressedAt = now
        return true
    }

    private static let pressureNanoseconds: UInt64 = 100_000_000

    /// Takes note that the ring holds no block for us.
    func isDrained() {
        // What a ring that follows holds came under the same programs.
        guard !hasSuccessor, let time = leftAt,
            monotonicNanoseconds() >= time + Ring.retirementNanosecondsMax
        else { return }
        leftAt = nil
    }

    /// Lets nothing more in.
    func end() {
        guard endedAt == nil else { return }
        endedAt = monotonicNanoseconds()
        // The socket of a device that is gone gets nothing anyway.
        try? ring?.attach(Program.keepNothing)
        try? successor?.attach(Program.keepNothing)
    }

    /// Whether all that came before a time is in blocks that have been handed over.
    private static func isRetired(_ time: UInt64?) -> Bool {
        time.map { monotonicNanoseconds() >= $0 + Ring.retirementNanosecondsMax } ?? false
    }

    /// Whether the edge is gone, and nothing more comes out of the ring once it has been drained.
    var isOver: Bool { Self.isRetired(endedAt) }

    /// Whether the successor has the packets, and the ring nothing more, by the last statistics. Time
    /// decides where these are wrong.
    var isSucceeded: Bool {
        succeededAt != nil && readCount == putCount || Self.isRetired(succeededAt)
    }

    /// Whether the successor has the packets.
    var isBeingSucceeded: Bool { succeededAt != nil }
}

extension Tap {
    /// Takes a ring that is to follow this one, and lets in there what is let in here.
    func prepare(_ next: consuming Ring) throws(SystemError) {
        try next.attach(endedAt == nil ? program.program : Program.keepNothing)
        successor = .some(next)
    }

    /// Takes note that from now on the successor gets the packets.
    func isFollowed() {
        succeededAt = monotonicNanoseconds()
    }

    /// Puts the successor in the ring's place, and hands that back. Closing it is for those who may
    /// wait.
    func succeed() -> Handover<Ring>? {
        let old = surrender()
        guard let next = successor.take() else { return old }
        number = next.number
        ring = .some(next)
        (readCount, putCount) = (0, 0)
        succeededAt = nil
        return old
    }

    var hasSuccessor: Bool { successor != nil }

    /// Gives up on the ring that was to follow.
    func abandon() {
        successor = nil
    }

    /// Hands the ring back for good.
    func surrender() -> Handover<Ring>? {
        guard let ring = ring.take() else { return nil }
        return Handover(ring)
    }
}
