package import Observation
package import Time

/// The program that is attached to the ring of an edge, and what that says about the ring's packets.
package struct InstalledProgram {
    /// The program that the kernel runs now.
    package private(set) var program: EdgeProgram
    /// The version of the plan that the program is made from; 0 if it may be made from another rule,
    /// or for another point, than what user space knows now.
    package private(set) var planVersion = 0
    /// Until when the ring may hold packets of an earlier program that left more to user space.
    private var mixedUntil: MonotonicTime?

    /// The program of a ring that has just been opened, perhaps from another version of the plan.
    ///
    /// - Parameters:
    ///   - program: The program.
    ///   - retirementMax: The longest time that a packet stays in the ring's blocks.
    ///   - now: The time.
    package init(_ program: EdgeProgram, retirementMax: Duration, now: MonotonicTime) {
        self.program = program
        mixedUntil = now + retirementMax
    }

    /// Whether every packet in the ring went through a program that decides, and user space can tell
    /// which ones it punted.
    ///
    /// It tells by what it knows itself, so a program that knew less does not count: a frame to an
    /// address that was unknown, which that program punted, would pass for decided.
    package var decides: Bool { program.decides && mixedUntil == nil && planVersion != 0 }

    /// Whether every packet in the ring went through a program that includes the sensor's filter.
    package var includesFilter: Bool { program.includesFilter && mixedUntil == nil }

    /// Whether the ring may hold packets of an earlier program that left more to user space.
    package var isMixed: Bool { mixedUntil != nil }

    /// Records that the kernel runs another program from now on.
    ///
    /// - Parameters:
    ///   - next: The program.
    ///   - retirementMax: The longest time that a packet stays in the ring's blocks.
    ///   - now: The time.
    package mutating func replace(
        with next: EdgeProgram, retirementMax: Duration, now: MonotonicTime
    ) {
        if planVersion == 0 || !program.decides || !program.includesFilter {
            mixedUntil = now + retirementMax
        }
        program = next
    }

    /// Records that the program is that of a version of the plan.
    package mutating func markCurrent(_ version: Int) { planVersion = version }

    /// Records that the edge's point or the rule is another one from now on.
    package mutating func markStale() { planVersion = 0 }

    /// Records that the ring holds no block, so that packets of an earlier program may be out of it.
    package mutating func noteDrained(now: MonotonicTime) {
        if let mixedUntil, now >= mixedUntil { self.mixedUntil = nil }
    }
}
