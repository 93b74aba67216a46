package import BPF
package import RPCAP

/// What a session wants of a capture's packets: which of them, and how much of each.
///
/// Sessions that want the same are sent copies of the same bytes.
package struct ViewForm: Equatable, Sendable {
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    /// The most bytes that are kept of a frame.
    package var frameByteCountMax: Int
    /// Which of the packets that pass the filter are sent.
    package var sampling: Sampling

    /// Creates a form from what a session has asked for.
    package init(filter: Program?, frameByteCountMax: Int, sampling: Sampling) {
        (self.filter, self.frameByteCountMax) = (filter, frameByteCountMax)
        self.sampling = sampling
    }

    /// Whether all of these have the same filter, so that it can run in the kernel.
    func hasSameFilter(as others: [Self]) -> Bool {
        others.allSatisfy { $0.filter == filter }
    }
}
