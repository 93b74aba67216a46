package import BPF
package import Edges
package import RPCAP
package import Settings
import Time

/// What a capture does: where it looks, what it reports, how much memory it takes.
package struct CapturePlan: Sendable {
    /// Publishes the edges and the rule whenever they change.
    package var feed: NodePublisher
    /// The part of the node that the capture shows.
    package var scope: CaptureScope
    /// Whether connection tracking can be asked about calls to services.
    package var tracksConnections: Bool
    /// The agent's own filter; nil lets everything pass.
    package var agentFilter: Program?
    /// The sensor's filter; nil lets everything pass.
    package var filter: Program?
    /// What the settings say of captures: memory, limits, the form of frames.
    package var settings: CaptureSettings
    /// The memory of the node's rings, of which all captures take.
    package var ringMemory: RingMemory
    /// Which of the packets that pass the filter are sent.
    package var sampling: Sampling
    /// The form of the datagrams, if packets are sent over UDP.
    package var datagramFormat: DatagramWriter.Format?
    /// Opens sockets inside pods; nil if all edges are captured at the host's ends.
    package var podSockets: PodSockets?
    /// How long an edge is watched before it is found silent, so that it gets a slow ring.
    package var silenceTime = TalkMeter.window
    /// The time whose frames are forwarded.
    package var span = ForwardingSpan()
    /// When a second thread sends.
    package var senderPolicy: Sender.Policy

    package init(
        feed: NodePublisher, scope: CaptureScope = .stream, tracksConnections: Bool,
        agentFilter: Program? = nil, filter: Program?, settings: CaptureSettings,
        ringMemory: RingMemory,
        podSockets: PodSockets? = nil,
        sampling: Sampling = .none,
        datagramFormat: DatagramWriter.Format? = nil, senderPolicy: Sender.Policy = .whenBusy
    ) {
        self.feed = feed
        self.scope = scope
        self.tracksConnections = tracksConnections
        (self.agentFilter, self.filter) = (agentFilter, filter)
        self.settings = settings
        self.ringMemory = ringMemory
        self.podSockets = podSockets
        self.sampling = sampling
        self.datagramFormat = datagramFormat
        self.senderPolicy = senderPolicy
    }

    /// What the session wants of the packets.
    var form: ViewForm {
        ViewForm(
            agentFilter: agentFilter, filter: filter, frameByteCountMax: frameByteCountMax,
            sampling: sampling)
    }

    /// The edges and the rule, as far as the capture shows them.
    package var snapshot: NodePublisher.Snapshot { feed.snapshot.limited(to: scope) }

    /// The most bytes that are kept of a frame: a PACKET message must fit into its datagram.
    var frameByteCountMax: Int {
        datagramFormat == .packet
            ? min(settings.snaplen, DatagramWriter.frameByteCountMax) : settings.snaplen
    }
}
