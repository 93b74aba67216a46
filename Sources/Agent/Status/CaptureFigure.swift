import Forwarding
import Metrics
import Formats
import Addressing
import Packets
import Synchronization

/// One thing that captures count, as metrics have it, with the sensor's name as a label.
struct CaptureFigure: Sendable {
    let family: Exposition.Family
    /// What tells it from others of its family.
    let label: Exposition.Label?
    let read: @Sendable (CaptureCounters) -> UInt64

    private init(
        _ name: String, _ help: String, _ label: Exposition.Label? = nil,
        _ read: @escaping @Sendable (CaptureCounters) -> UInt64
    ) {
        family = Exposition.Family("podwire_\(name)", .counter, help)
        self.label = label
        self.read = read
    }

    /// All of them but the terms of the law, those of one family behind each other.
    static let all: [CaptureFigure] =
        [packetsForwarded, bytesForwarded] + packets + frames + repairs + datagrams + tracking
        + rings

    static let packetsForwarded = Self(
        "packets_forwarded_total",
        "Packets put into the send queue; segments that a frame was cut into count one by one."
    ) { load($0.packetsQueued) }

    static let bytesForwarded = Self(
        "packets_forwarded_bytes_total", "Bytes of these packets, with RPCAP's headers."
    ) { load($0.bytesQueued) }

    private static let packets = [
        Self(
            "packets_dropped_total",
            "Packets lost because the send queue had no room; segments count one by one."
        ) { load($0.packetsDroppedByQueue) },
        Self("packets_limited_total", "Packets left out because of the rate limit.") {
            load($0.packetsLimited)
        },
        Self("packets_sampled_out_total", "Packets left out because the peer wants a sample.") {
            load($0.packetsSampledOut)
        },
        Self(
            "packets_abandoned_total",
            "Packets forwarded that were still in the send queue when their capture ended."
        ) { load($0.packetsAbandoned) },
        Self("packets_abandoned_bytes_total", "Bytes of these packets.") {
            load($0.bytesAbandoned)
        },
    ]

    private static let frames = [
        Self(
            "frames_unaccounted_total",
            "Frames by which the accounts of edges were wrong: always 0, or it is a fault of podwire's."
        ) { load($0.framesUnaccounted) },
        Self("frames_settled_total", "Frames that the kernel left to user space to decide about.") {
            load($0.framesSettled)
        },
        Self("frames_translated_total", "Frames to services that were put into their pod form.") {
            load($0.packetsTranslated)
        },
        Self(
            "frames_unexplained_total",
            "Frames with a service address that connection tracking knows nothing of."
        ) { load($0.framesUnexplained) },
        Self("fragments_total", "Frames settled that were pieces of datagrams.") {
            load($0.fragments)
        },
        Self(
            "fragments_not_held_total",
            "Pieces that came before their datagram's first one and found no room to wait for it."
        ) { load($0.fragmentsNotHeld) },
    ]

    private static let repairs =
        [
            Self("frames_segmented_total", "Super-frames that were cut into segments.") {
                load($0.framesSegmented)
            },
            Self("segments_total", "Segments that these became.") { load($0.segments) },
            Self("checksums_finished_total", "Frames that lacked only their checksum.") {
                load($0.checksumsFinished)
            },
            Self("tags_restored_total", "Frames that have their VLAN tag back.") {
                load($0.tagsRestored)
            },
        ]
        + WireForm.Obstacle.allCases.map { obstacle in
            Self(
                "frames_unrepaired_total",
                "Frames sent as they were captured though something was left to do, by reason.",
                Exposition.Label("reason", obstacle.name)
            ) { load($0.framesUnrepaired[obstacle.rawValue]) }
        }

    private static let datagrams = [
        Self("datagrams_sent_total", "Datagrams of feeds over UDP that the kernel took.") {
            load($0.datagramsSent)
        },
        Self(
            "datagrams_refused_total",
            "Errors that came back for datagrams, as from a port where nobody listens."
        ) { load($0.datagramsRefused) },
        Self(
            "datagrams_dropped_total", "Datagrams that were not sent, by reason.",
            Exposition.Label("reason", "failed")
        ) { load($0.datagramsFailed) },
        Self(
            "datagrams_dropped_total", "Datagrams that were not sent, by reason.",
            Exposition.Label("reason", "too_large")
        ) { load($0.datagramsTooLarge) },
    ]

    private static let tracking = [
        Self("conntrack_lookups_total", "Flows that connection tracking was asked about.") {
            load($0.trackingQuestions)
        },
        Self(
            "conntrack_lookups_skipped_total",
            "Flows that it was not asked about, because there were too many within a second."
        ) { load($0.trackingQuestionsNotAsked) },
        Self("conntrack_lookup_failures_total", "Questions that it answered with an error.") {
            load($0.trackingFailures)
        },
        Self("conntrack_overruns_total", "Times that events of new flows were lost.") {
            load($0.trackingOverruns)
        },
        Self(
            "conntrack_flows_evicted_total",
            "Flows forgotten because there were too many, and not because of their age."
        ) { load($0.trackedFlowsEvicted) },
    ]

    private static let rings = [
        Self("rings_replaced_total", "Rings that a larger or smaller one has taken the place of.") {
            load($0.ringsReplaced)
        },
        Self(
            "programs_not_replaced_total",
            "Times that the kernel did not take an edge's new program and the old one stayed."
        ) { load($0.programsNotReplaced) },
    ]

    private static func load(_ counter: borrowing Atomic<UInt64>) -> UInt64 {
        counter.load(ordering: .relaxed)
    }
}
