package import Edges
package import Observation

import Addressing
import Packets
import RPCAP

/// What becomes of recorded frames at the edges of this node, counted by the steps that decide.
package struct FileExplanation: ~Copyable {
    private var explainer: Explainer
    /// The edge that all frames are from; nil has each frame's addresses say it.
    private let place: Edge?
    private var programs: [UInt32: EdgeProgram] = [:]
    private var dropList: ServiceDropList
    package private(set) var counts: [Row: Int] = [:]
    package private(set) var frameCount = 0
    /// Frames that neither come from a pod of this node nor go to one.
    package private(set) var strangerCount = 0
    /// Frames between two pods of this node, taken as recorded where they enter.
    package private(set) var ambiguousCount = 0

    /// Frames with one fate.
    package struct Row: Hashable, Sendable {
        package let step: Decision.Step
        package let isReported: Bool
        package let isDecidedByKernel: Bool
    }

    package init(_ explainer: consuming Explainer, at place: Edge?) {
        dropList = ServiceDropList()
        self.explainer = explainer
        self.place = place
    }

    /// Takes a frame and when it was recorded. Translations are those that connection tracking knows
    /// now; what user space learns leaves its sight as it does in an agent.
    package mutating func add(_ frame: [UInt8], nanoseconds: UInt64) {
        frameCount += 1
        guard let (point, direction) = whereabouts(of: frame) else {
            strangerCount += 1
            return
        }
        let before = dropList.services
        _ = dropList.refresh(
            at: explainer.services, edgeCount: explainer.places.count, now: nanoseconds)
        if dropList.services != before { programs.removeAll() }
        let verdict = explainer.settle(frame, direction: direction, at: point, now: nanoseconds)
        let isDecided = program(at: point).decides(frame, direction: direction)
        let row = Row(
            step: verdict.decision.step, isReported: verdict.decision.isReported,
            isDecidedByKernel: isDecided)
        counts[row, default: 0] += 1
    }

    /// How many frames user space had to settle.
    package var settledCount: Int {
        counts.filter { !$0.key.isDecidedByKernel }.values.reduce(0, +)
    }

    private mutating func whereabouts(of frame: [UInt8]) -> (
        ObservationPoint, direction: Direction
    )? {
        guard frame.count >= EthernetHeader.byteCount else { return nil }
        let source = MACAddress(frame.wire, at: 6)
        if let point = place?.point { return (point, source == point.podMAC ? .fromPod : .toPod) }
        let destination = MACAddress(frame.wire, at: 0)
        let points = explainer.places.map(\.point)
        let receiver = points.first { $0.podMAC == destination }
        guard let sender = points.first(where: { $0.podMAC == source }) else {
            return receiver.map { ($0, .toPod) }
        }
        if receiver != nil { ambiguousCount += 1 }
        return (sender, .fromPod)
    }

    private mutating func program(at point: ObservationPoint) -> EdgeProgram {
        if let program = programs[point.interfaceIndex] { return program }
        let program = EdgeProgram(
            explainer.rule, at: point, snaplen: UInt32(StartRequest.snaplenMax),
            dropList: dropList.services)
        programs[point.interfaceIndex] = program
        return program
    }
}
