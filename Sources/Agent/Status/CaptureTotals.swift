import Forwarding
import Addressing
/// What captures have counted at a moment, to be added up over those that have ended and those that run.
struct CaptureTotals: Sendable {
    var frames = FrameCounters.Counts()
    /// In the order of `CaptureFigure.all`.
    var values = [UInt64](repeating: 0, count: CaptureFigure.all.count)

    init() {}

    init(_ counters: CaptureCounters) {
        frames = counters.frames.counts
        values = CaptureFigure.all.map { $0.read(counters) }
    }

    subscript(figure: CaptureFigure) -> UInt64 {
        let index = CaptureFigure.all.firstIndex {
            $0.family == figure.family && $0.label == figure.label
        }
        return index.map { values[$0] } ?? 0
    }

    static func += (total: inout Self, other: Self) {
        total.frames += other.frames
        for index in total.values.indices { total.values[index] += other.values[index] }
    }
}
