import BPF
import Observation

/// What the programs of a capture's edges are made from.
struct ProgramPlan: Sendable {
    var rule: Rule
    var filter: Program?
    let snaplen: Int
    var dropList: [ServiceKey: UInt16] = [:]
    /// As many as the kernel has shown to have room for.
    private(set) var instructionCountMax = Program.kernelInstructionCountMax

    init(_ plan: CapturePlan) {
        (rule, filter, snaplen) = (plan.rule, plan.filter, plan.snaplen)
    }

    func program(at point: ObservationPoint) -> EdgeProgram {
        EdgeProgram(
            rule, at: point, filter: filter, snaplen: UInt32(snaplen), dropList: dropList,
            instructionCountMax: instructionCountMax)
    }

    /// Makes shorter programs from now on than one that the kernel had no room for.
    mutating func shrink(below program: EdgeProgram) {
        instructionCountMax = program.program.instructions.count * 3 / 4
    }
}
