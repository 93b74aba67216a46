package import BPF
package import RPCAP

/// What a session wants of a capture's packets: which of them, and how much of each.
///
/// Sessions that want the same are sent copies of the same bytes.
package struct ViewForm: Equatable, Sendable {
    /// The agent's own filter; nil lets everything pass.
    package var agentFilter: Program?
    /// The filter that the session's peer asks for; nil lets everything pass.
    package var peerFilter: Program?
    /// The most bytes that are kept of a frame.
    package var frameByteCountMax: Int
    /// Which of the packets that pass the filters are sent.
    package var sampling: Sampling

    /// Creates a form from what a session has asked for.
    package init(
        agentFilter: Program? = nil, filter: Program?, frameByteCountMax: Int, sampling: Sampling
    ) {
        (self.agentFilter, peerFilter) = (agentFilter, filter)
        (self.frameByteCountMax, self.sampling) = (frameByteCountMax, sampling)
    }

    /// Both filters in one; nil lets everything pass.
    package var filter: Program? {
        guard let agentFilter else { return peerFilter }
        return peerFilter.map { agentFilter.followed(by: $0) } ?? agentFilter
    }

    /// Whether all of these have the same filters, so that those can run in the kernel.
    func hasSameFilter(as others: [Self]) -> Bool {
        others.allSatisfy { $0.peerFilter == peerFilter && $0.agentFilter == agentFilter }
    }

    /// The filter that can run in the kernel for all of these: the whole one, or only the agent's.
    func commonFilter(with others: [Self]) -> Program? {
        if hasSameFilter(as: others) { return filter }
        return others.allSatisfy { $0.agentFilter == agentFilter } ? agentFilter : nil
    }
}
