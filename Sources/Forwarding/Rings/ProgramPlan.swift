package import Addressing
import BPF
import Edges
package import Observation

/// What the programs of a capture's edges are made from.
package struct ProgramPlan: Sendable {
    private(set) var rule: Rule
    private(set) var filter: Program?
    private var snaplen: Int
    /// Whether user space needs whole frames to restore their wire form; it cuts them to the snaplen.
    let restoresWireForm: Bool
    /// Whether it needs them because sessions want different parts of them.
    private var hasSideViews = false
    private(set) var fronts: Set<ServiceKey> = []
    private(set) var dropList: [ServiceKey: UInt16] = [:]
    private(set) var floods: Set<MACAddress> = []
    /// The flows that are sent whole; nil for all.
    let sample: FlowSample?
    /// The flows whose payload is dropped, by edge.
    private(set) var cutFlows: [UInt32: [FlowKey]] = [:]
    /// Increases whenever programs come out differently.
    package private(set) var version = 1
    /// The most instructions of a program, as far as the kernel has shown to have room for.
    private(set) var instructionCountMax = Program.kernelInstructionCountMax

    package init(
        _ rule: Rule, _ form: ViewForm, restoresWireForm: Bool, sample: FlowSample? = nil
    ) {
        (self.rule, self.restoresWireForm, self.sample) = (rule, restoresWireForm, sample)
        filter = form.filter
        snaplen = form.frameByteCountMax
    }

    /// Whether programs leave out more than the rule does.
    var areSelecting: Bool { filter != nil || sample != nil }

    private var keepsWhole: Bool { restoresWireForm || hasSideViews }

    /// The program for the ring of an edge.
    package func program(at point: ObservationPoint) -> EdgeProgram {
        EdgeProgram(
            rule, at: point, filter: filter, snaplen: keepsWhole ? nil : UInt32(snaplen),
            fronts: fronts, dropList: dropList, floods: floods,
            selection: FlowSelection(
                sample: sample, cutFlows: cutFlows[point.interfaceIndex] ?? []),
            instructionCountMax: instructionCountMax)
    }

    /// The length of the filter if programs have no room for it; nil if they have.
    ///
    /// One edge stands for all, whose programs are about as long.
    func filterWithoutRoom(at edges: [Edge]) -> Int? {
        guard let filter, let edge = edges.first, !program(at: edge.point).includesFilter else {
            return nil
        }
        return filter.instructions.count
    }

    package mutating func set(_ rule: Rule) {
        if !rule.hasSamePrograms(as: self.rule) { version += 1 }
        self.rule = rule
    }

    /// Lets in what sessions want: their filter runs in the kernel if it is the same for all, and else the
    /// agent's.
    package mutating func set(_ form: ViewForm, _ others: [ViewForm]) {
        let filter = form.commonFilter(with: others)
        let snaplen = form.frameByteCountMax
        let hasSideViews = !others.isEmpty
        guard
            filter != self.filter || snaplen != self.snaplen
                || hasSideViews != self.hasSideViews
        else { return }
        (self.filter, self.snaplen, self.hasSideViews) = (filter, snaplen, hasSideViews)
        version += 1
    }

    /// Lets in what sessions wanted before.
    mutating func restoreForms(of plan: ProgramPlan) {
        (filter, snaplen, hasSideViews) = (plan.filter, plan.snaplen, plan.hasSideViews)
        version += 1
    }

    package mutating func set(_ dropList: [ServiceKey: UInt16], fronts: Set<ServiceKey> = []) {
        guard dropList != self.dropList || fronts != self.fronts else { return }
        (self.dropList, self.fronts) = (dropList, fronts)
        version += 1
    }

    package mutating func set(_ floods: Set<MACAddress>) {
        guard floods != self.floods else { return }
        self.floods = floods
        version += 1
    }

    package mutating func set(_ cutFlows: [UInt32: [FlowKey]]) {
        guard cutFlows != self.cutFlows else { return }
        self.cutFlows = cutFlows
        version += 1
    }

    /// Makes programs from now on shorter than one that the kernel had no room for.
    package mutating func shrink(below program: EdgeProgram) {
        instructionCountMax = program.program.instructions.count * 3 / 4
    }
}
