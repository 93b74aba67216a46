import BPF
import PacketRing
import Glibc
import Linux
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
    private var round: Round
    private(set) var program: EdgeProgram
    /// Which version of the plan the program is made from; 0 for none.
    private(set) var planVersion: Int
    /// When a program was replaced that left more to user space, or other things, than the present
    /// one; what passed it may be in the ring.
    private var leftAt: UInt64?
    /// When it was to let nothing more in, because its edge is gone.
    private(set) var endedAt: UInt64?
    /// The ring that is to take this one's place, which has been given the same packets for a while.
    private(set) var successor: Ring?
    /// While there is a successor, and then until all that both have had is read.
    private var overlap: Overlap?
    /// How many frames have come out of the ring, and how many the kernel has put in, as far as it has
    /// been asked.
    private var readCount = 0
    private var putCount = 0

    /// The program may have been made from another plan.
    init(_ place: Place, _ ring: consuming Ring, _ program: EdgeProgram) {
        self.place = place
        number = ring.fileDescriptor
        round = Round(blockCount: ring.blockCount)
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
    func adopt(_ plan: inout ProgramPlan) throws(Ring.Failure) {
        guard planVersion != plan.version, endedAt == nil else { return }
        var next = plan.program(at: place.point)
        while next != program {
            if try replaces(with: next) { break }
            if program == .undecided {
                plan.shrink(below: next)
                next = plan.program(at: place.point)
            } else if try !replaces(with: .undecided) {
                throw .programTooLarge
            }
        }
        planVersion = plan.version
    }

    /// Answers false if there is no room for the program.
    private func replaces(with next: EdgeProgram) throws(Ring.Failure) -> Bool {
        do throws(Ring.Failure) {
            try ring?.attach(next.program)
            try successor?.attach(next.program)
            if !program.decides || !program.includesFilter { leftAt = monotonicNanoseconds() }
            program = next
            return true
        } catch {
            guard error == .programTooLarge else { throw error }
            return false
        }
    }

    /// Takes note of a block of so many frames that has come out of the ring.
    func hasRead(_ count: Int) {
        readCount += count
        round.hasRead()
    }

    /// What the kernel has counted since the last time; nil if there is no ring. While there are two,
    /// it has counted twice, so packets are counted when they are read.
    func takeStatistics() throws(SystemError) -> Ring.Statistics? {
        guard let statistics = try ring?.takeStatistics() else { return nil }
        putCount += statistics.put
        guard hasSuccessor else { return statistics }
        overlap?.hasMissed(Int(statistics.dropped))
        return Ring.Statistics(received: 0, dropped: 0)
    }

    /// Whether the ring is close to full, or may soon be; once in a while, as it takes time to do
    /// something about it.
    func isPressed() -> Bool {
        guard round.isFast || ring?.isHalfFull == true else { return false }
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
}

extension Tap {
    /// Takes a ring that is to follow this one, and lets in there what is let in here. The kernel has
    /// just been asked for its counts.
    func prepare(_ next: consuming Ring, _ set: consuming PacketSet) throws(Ring.Failure) {
        try next.attach(endedAt == nil ? program.program : Program.keepNothing)
        successor = .some(next)
        overlap = Overlap(set, startCount: putCount)
    }

    var hasSuccessor: Bool { successor != nil }

    /// Takes note that the successor gets all further packets. The kernel has just been asked for its
    /// counts.
    func isFollowed() {
        guard hasSuccessor else { return }
        overlap?.end(at: putCount)
    }

    /// Whether the ring is only to be read as far as `isSucceeded` says.
    var isBeingSucceeded: Bool { hasSuccessor && overlap?.hasEnded == true }

    /// Whether the successor has all that is still to be forwarded.
    var isSucceeded: Bool { hasSuccessor && overlap?.isOver(readCount: readCount) == true }

    /// Whether what is read is also in the ring before, or in the one that follows.
    var isShared: Bool { overlap != nil }

    /// Takes note of a block that is about to be forwarded, if it is from the older of two rings.
    func note(_ block: borrowing Block) {
        if hasSuccessor { overlap?.note(block, readCount: readCount) }
    }

    /// Whether the next packet has been forwarded from the ring before.
    func hasForwarded(_ identity: UInt64?) -> Bool {
        hasSuccessor ? false : overlap?.hasForwarded(identity) ?? false
    }

    /// How many packets that two rings may have had have been read, each once, since this was asked
    /// last.
    func takeOwnCount() -> Int {
        let count = overlap?.takeOwnCount() ?? 0
        if !hasSuccessor, overlap?.sharedCount == 0 { overlap = nil }
        return count
    }

    /// Puts the successor in the ring's place, and hands that back, with what the kernel has given up
    /// on in both. Nil if the successor has not got everything. Closing a ring is for those who may wait.
    func succeed() throws(SystemError) -> (old: TransferBox<Ring>?, lost: Ring.Statistics)? {
        guard let statistics = try successor?.takeStatistics(), statistics.freezes == 0,
            overlap?.isSound == true
        else { return nil }
        let old = surrender()
        guard let next = successor.take() else { return nil }
        number = next.fileDescriptor
        round = Round(blockCount: next.blockCount)
        ring = .some(next)
        (readCount, putCount) = (0, statistics.put)
        overlap?.share(statistics.put)
        return (old, Ring.Statistics(received: statistics.dropped, dropped: statistics.dropped))
    }

    /// Gives up on the ring that was to follow, and hands it back, with what is to be counted of the
    /// present one after all.
    func abandonSuccessor() -> (next: TransferBox<Ring>?, rest: Ring.Statistics) {
        let rest =
            overlap?.rest(readCount: readCount, putCount: putCount)
            ?? Ring.Statistics(received: 0, dropped: 0)
        overlap = nil
        guard let next = successor.take() else { return (nil, rest) }
        return (TransferBox(next), rest)
    }

    /// Hands the ring back for good.
    func surrender() -> TransferBox<Ring>? {
        guard let ring = ring.take() else { return nil }
        return TransferBox(ring)
    }
}
