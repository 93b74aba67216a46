import BPF
import Observation

/// What the programs of a capture's edges are made from.
struct ProgramPlan: Sendable {
    private(set) var rule: Rule
    private(set) var filter: Program?
    let snaplen: Int
    /// Whether user space needs whole frames, to send them as a wire would have carried them; it cuts
    /// them to the snaplen itself.
    let keepsWhole: Bool
    private(set) var dropList: [ServiceKey: UInt16] = [:]
    /// Grows whenever programs come out differently.
    private(set) var version = 1
    /// As many as the kernel has shown to have room for.
    private(set) var instructionCountMax = Program.kernelInstructionCountMax

    init(_ rule: Rule, _ filter: Program?, snaplen: Int, keepsWhole: Bool) {
        (self.rule, self.filter) = (rule, filter)
        (self.snaplen, self.keepsWhole) = (snaplen, keepsWhole)
    }

    func program(at point: ObservationPoint) -> EdgeProgram {
        EdgeProgram(
            rule, at: point, filter: filter, snaplen: keepsWhole ? nil : UInt32(snaplen),
            dropList: dropList,
            instructionCountMax: instructionCountMax)
    }

    mutating func set(_ rule: Rule) {
        if !rule.hasSamePrograms(as: self.rule) { version += 1 }
        self.rule = rule
    }

    mutating func set(_ filter: Program?) {
        self.filter = filter
        version += 1
    }

    mutating func set(_ dropList: [ServiceKey: UInt16]) {
        guard dropList != self.dropList else { return }
        self.dropList = dropList
        version += 1
    }

    /// Makes shorter programs from now on than one that the kernel had no room for.
    mutating func shrink(below program: EdgeProgram) {
        instructionCountMax = program.program.instructions.count * 3 / 4
    }
}
