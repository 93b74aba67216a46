import Addressing
package import Edges
package import Observation
import Packets
import RPCAP
import Time

/// Counts what becomes of recorded frames at the edges of this node, by the steps that decide.
package struct FileExplanation: ~Copyable {
    private var explainer: Explainer
    /// The edge where all frames were recorded; nil if each frame's MAC addresses tell.
    private let edge: Edge?
    private var programs: [UInt32: EdgeProgram] = [:]
    private var dropList: ServiceDropList
    /// The number of frames with each outcome.
    package private(set) var counts: [Row: Int] = [:]
    /// The number of all frames.
    package private(set) var frameCount = 0
    /// The number of frames that neither come from a pod of this node nor go to one.
    package private(set) var strangerCount = 0
    /// The number of frames between two pods of this node, which count as recorded where they enter.
    package private(set) var ambiguousCount = 0

    /// An outcome that frames have in common.
    package struct Row: Hashable, Sendable {
        /// The step of the rule that decides.
        package let step: Decision.Step
        /// Whether the frame is reported.
        package let isReported: Bool
        /// Whether the kernel decides, or the slow path.
        package let isDecidedByKernel: Bool
    }

    /// Creates an explanation without frames.
    ///
    /// `edge` is where all frames were recorded; nil if their MAC addresses tell.
    package init(_ explainer: consuming Explainer, at edge: Edge?) {
        dropList = ServiceDropList()
        self.explainer = explainer
        self.edge = edge
    }

    /// Adds a frame, with the time at which it was recorded.
    ///
    /// Translations are those that connection tracking knows now. The drop list of services grows by
    /// what the slow path learns, as in an agent.
    package mutating func add(_ frame: [UInt8], nanoseconds: UInt64) {
        frameCount += 1
        guard let (point, direction) = origin(of: frame) else {
            strangerCount += 1
            return
        }
        let now = MonotonicTime(nanoseconds: nanoseconds)
        let before = dropList.services
        _ = dropList.refresh(
            at: explainer.services, edgeCount: explainer.edges.count, now: now)
        if dropList.services != before { programs.removeAll() }
        let outcome = explainer.decide(frame, direction: direction, at: point, now: now)
        let isDecided = program(at: point).decides(frame, direction: direction)
        let row = Row(
            step: outcome.decision.step, isReported: outcome.decision.isReported,
            isDecidedByKernel: isDecided)
        counts[row, default: 0] += 1
    }

    /// The number of frames that the kernel punted to the slow path.
    package var puntedCount: Int {
        counts.filter { !$0.key.isDecidedByKernel }.values.reduce(0, +)
    }

    /// The edge where a frame was recorded, and its direction there.
    private mutating func origin(of frame: [UInt8]) -> (
        ObservationPoint, direction: Direction
    )? {
        guard frame.count >= EthernetHeader.byteCount else { return nil }
        let source = MACAddress(frame.wire, at: 6)
        if let point = edge?.point { return (point, point.has(source) ? .fromPod : .toPod) }
        let destination = MACAddress(frame.wire, at: 0)
        let points = explainer.edges.map(\.point)
        let receiver = points.first { $0.has(destination) }
        guard let sender = points.first(where: { $0.has(source) }) else {
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
