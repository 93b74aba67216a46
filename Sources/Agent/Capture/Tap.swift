package import Observation

import Capture
import Glibc
import Kernel

/// Where a capture looks: an edge by its name, and what the rule needs to know of it.
package struct Place: Equatable, Sendable {
    package let name: String
    package let point: ObservationPoint

    package init(name: String, point: ObservationPoint) {
        (self.name, self.point) = (name, point)
    }
}

/// A place and the ring that is open there. It belongs to the forwarder's thread.
final class Tap {
    let place: Place
    var ring: Ring
    private(set) var program: EdgeProgram
    /// When a program was replaced that left more to user space, or other things, than the present
    /// one; what passed it may be in the ring.
    private var leftAt: UInt64?

    init(_ place: Place, _ ring: consuming Ring, _ program: EdgeProgram) {
        self.place = place
        self.ring = ring
        self.program = program
    }

    /// Whether the kernel has decided about all that the ring holds, but for what it says itself.
    var isDecided: Bool { program.decides && leftAt == nil }

    /// Whether the kernel has shown all of that to the sensor's filter.
    var isFiltered: Bool { program.includesFilter && leftAt == nil }

    /// Puts another program in force, between two packets.
    ///
    /// For a moment the old and the new one count against what the kernel allows a socket. Where
    /// that is too much, the smallest one takes the old one's place first; where the new one alone
    /// is, the plan is to make shorter ones.
    func adopt(_ plan: inout ProgramPlan) throws(SystemError) {
        var next = plan.program(at: place.point)
        guard next != program else { return }
        while try !replaces(with: next) {
            if program == .undecided {
                plan.shrink(below: next)
                next = plan.program(at: place.point)
                if next == program { return }
            } else if try !replaces(with: .undecided) {
                throw SystemError(Descriptor.attachOperation, ENOMEM)
            }
        }
    }

    /// Answers false if there is no room for the program.
    private func replaces(with next: EdgeProgram) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try ring.attach(next.program)
            if !program.decides || !program.includesFilter { leftAt = monotonicNanoseconds() }
            program = next
            return true
        } catch {
            guard error.code == ENOMEM else { throw error }
            return false
        }
    }

    /// Takes note that the ring holds no block for us.
    func isDrained() {
        guard let time = leftAt, monotonicNanoseconds() >= time + Ring.retirementNanosecondsMax
        else { return }
        leftAt = nil
    }
}
