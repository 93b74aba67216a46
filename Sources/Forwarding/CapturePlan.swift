package import BPF
package import Edges
package import RPCAP
package import Settings

/// What a capture does: where it looks, what it reports, how much memory it takes.
package struct CapturePlan: Sendable {
    /// Publishes the edges and the rule whenever they change.
    package var feed: NodePublisher
    /// The part of the node that the capture shows.
    package var scope: CaptureScope
    /// Whether connection tracking can be asked about calls to services.
    package var tracksConnections: Bool
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    /// The most bytes that are sent of a packet.
    package var snaplen: Int
    /// The most memory of all rings, bytes.
    package var ringByteCountMax: Int
    /// The size of the send queue, bytes.
    package var queueByteCountMax: Int
    /// Which of the packets that pass the filter are sent.
    package var sampling: Sampling
    /// The most bytes that are queued in a second; nil for any number.
    package var bytesPerSecondMax: Int?
    /// Where the forwarding threads run.
    package var placement: ThreadPlacement
    /// Whether frames are sent as a wire would carry them, or as captured.
    package var restoresWireForm: Bool
    /// The form of the datagrams, if packets are sent over UDP.
    package var datagramFormat: DatagramWriter.Format?
    /// When a second thread sends.
    package var senderPolicy: Sender.Policy

    package init(
        feed: NodePublisher, scope: CaptureScope = .stream, tracksConnections: Bool,
        filter: Program?,
        snaplen: Int,
        ringByteCountMax: Int, queueByteCountMax: Int, sampling: Sampling = .none,
        bytesPerSecondMax: Int? = nil, placement: ThreadPlacement = ThreadPlacement(),
        restoresWireForm: Bool = true,
        datagramFormat: DatagramWriter.Format? = nil, senderPolicy: Sender.Policy = .whenBusy
    ) {
        self.feed = feed
        self.scope = scope
        self.tracksConnections = tracksConnections
        self.filter = filter
        self.snaplen = snaplen
        self.ringByteCountMax = ringByteCountMax
        self.queueByteCountMax = queueByteCountMax
        self.sampling = sampling
        self.bytesPerSecondMax = bytesPerSecondMax
        self.placement = placement
        self.restoresWireForm = restoresWireForm
        self.datagramFormat = datagramFormat
        self.senderPolicy = senderPolicy
    }

    /// The edges and the rule, as far as the capture shows them.
    package var snapshot: NodePublisher.Snapshot { feed.snapshot.limited(to: scope) }

    /// The most bytes that are kept of a frame: a PACKET message must fit into its datagram.
    var frameByteCountMax: Int {
        datagramFormat == .packet ? min(snaplen, DatagramWriter.frameByteCountMax) : snaplen
    }
}
