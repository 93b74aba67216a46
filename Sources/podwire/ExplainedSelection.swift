import BPF
import Explain
import Filter
import Formats
import Observation
import Settings

/// What an agent leaves out of the packets that it reports, as far as `podwire explain` can tell.
struct ExplainedSelection {
    /// The agent's filter; nil for none.
    let filter: FilterExpression?
    /// The agent's sample of flows; nil for all.
    let sample: FlowSample?
    /// The payload of a flow's direction that the agent sends; nil for all.
    let cutoffByteCount: Int?

    /// Reads a filter's file, if the settings name one.
    ///
    /// - Throws: What is wrong with it.
    init(_ settings: Settings) throws(FilterFile.Failure) {
        let selection = settings.capture.selection
        filter = try selection.readFilter()
        sample = selection.flowSampleCount.map { FlowSample(oneIn: $0) }
        cutoffByteCount = selection.cutoffByteCount
    }

    /// Whether anything is left out.
    var isEverything: Bool { filter == nil && sample == nil && cutoffByteCount == nil }

    /// For programs: whether the agent sends a packet, as far as that is known.
    func json(_ views: [Explainer.View]) -> [(String, JSON)] {
        guard let view = views.first(where: \.decision.isReported) else { return [] }
        let passes = filter.map { view.passes($0.program).map { JSON.boolean($0) } ?? .null }
        let isSampled = sample.map { JSON.boolean(view.belongs(to: $0)) }
        return [("passes_filter", passes), ("is_in_flow_sample", isSampled)].compactMap {
            name, value in value.map { (name, $0) }
        }
    }

    /// The remarks about a packet, in sentences.
    func remarks(_ views: [Explainer.View]) -> [String] {
        let reported = views.filter(\.decision.isReported)
        guard let view = reported.first else { return [] }
        var remarks: [String] = []
        if let filter {
            let verdict =
                switch view.passes(filter.program) {
                case true?: "The agent's filter lets the packet pass"
                case false?: "But the agent's filter leaves the packet out"
                case nil:
                    """
                    Whether the agent's filter lets the packet pass depends on more than its addresses \
                    and ports
                    """
                }
            remarks.append("\(verdict): \(filter.textInOneLine)")
        }
        if let sample {
            remarks.append(
                view.belongs(to: sample)
                    ? "Its flow belongs to the sample of one in \(sample.flowCount)."
                    : "But its flow does not belong to the sample of one in \(sample.flowCount).")
        }
        if let cutoffByteCount {
            remarks.append(
                """
                Payload behind the first \(ByteCount(UInt64(cutoffByteCount))) of each direction of its \
                flow is left out.
                """)
        }
        return remarks
    }
}
