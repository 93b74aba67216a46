import BPF
import Explain
import Filter
import Observation
import Settings

/// What an agent leaves out of the packets that it reports, as far as `podwire explain` can tell.
struct ExplainedSelection {
    /// The agent's filter; nil for none.
    let filter: FilterExpression?
    /// The agent's sample of flows; nil for all.
    let sample: FlowSample?

    /// Reads a filter's file, if the settings name one.
    ///
    /// - Throws: What is wrong with it.
    init(_ settings: Settings) throws(FilterFile.Failure) {
        let selection = settings.capture.selection
        if let path = selection.filterFile {
            filter = try FilterFile.read(path)
        } else {
            filter = selection.filter
        }
        sample = selection.flowSampleCount.map { FlowSample(oneIn: $0) }
    }

    /// The remarks about a packet, in sentences.
    func remarks(_ views: [Explainer.View]) -> [String] {
        let reported = views.filter(\.decision.isReported)
        guard let view = reported.first else { return [] }
        var remarks: [String] = []
        if let filter {
            let text = filter.text.split(whereSeparator: \.isWhitespace).joined(separator: " ")
            remarks.append(
                view.passes(filter.program)
                    ? "The agent's filter lets it pass, as far as its headers tell: \(text)"
                    : "The agent's filter leaves it out, as far as its headers tell: \(text)")
        }
        if let sample {
            remarks.append(
                view.belongs(to: sample)
                    ? "Its flow belongs to the sample of one in \(sample.flowCount)."
                    : "Its flow does not belong to the sample of one in \(sample.flowCount).")
        }
        return remarks
    }
}
