/// A count of a capture, as metrics and the log show it.
///
/// Frames by fate are counted by `FrameCounters`, and those that could not be repaired by
/// `WireForm.Obstacle`.
///
/// To add one, add a case, its two names and its help; the page of metrics and the log follow.
/// Metrics of the same name stand behind each other.
package enum CaptureMetric: Int, CaseIterable, Sendable {
    case packetsQueued, bytesQueued, packetsSent, bytesSent
    case packetsDroppedByQueue, packetsLimited, packetsSampledOut
    case packetsAbandoned, bytesAbandoned
    case packetsLostWithoutBuffer, packetsLostUnreachable, packetsLostAsTooLarge
    case packetsLostAsEcho, packetsLostOtherwise, bytesLost
    case framesUnaccounted, framesPunted, framesTranslated, framesUnexplained
    case fragments, fragmentsNotHeld, fragmentedEvicted
    case strangersHeld, strangersNotHeld
    case copiesRefused, copiesEvicted, remotePodsEvicted
    case framesSegmented, segments, checksumsFinished, tagsRestored
    case datagramsSent
    /// Networks report few of the datagrams that they lose, and the kernel passes on only some of
    /// those reports, so at least this many were lost.
    case datagramsRefused
    case datagramsFailed, datagramsTooLarge
    case lookups, lookupsSkipped, lookupFailures, conntrackOverruns, conntrackListings, flowsEvicted
    case callsNotLearned
    case ciliumLookups, ciliumLookupsSkipped, ciliumLookupFailures
    case serviceCalls, serviceCallsUnexplained
    case ringsReplaced, ringsTooSmall, ringsNotMoved, programsNotReplaced

    /// Whether a capture counts this once for all of its sessions.
    var isShared: Bool {
        switch self {
        case .packetsQueued, .bytesQueued, .packetsSent, .bytesSent, .packetsDroppedByQueue,
            .packetsLimited, .packetsSampledOut, .packetsAbandoned, .bytesAbandoned,
            .packetsLostWithoutBuffer, .packetsLostUnreachable, .packetsLostAsTooLarge,
            .packetsLostAsEcho, .packetsLostOtherwise, .bytesLost, .framesSegmented, .segments,
            .checksumsFinished, .tagsRestored, .datagramsSent,
            .datagramsRefused, .datagramsFailed, .datagramsTooLarge:
            false
        default: true
        }
    }

    /// The name of the metric, without the program's.
    package var name: String { names.metric }

    /// The key in the log, or nil where other keys of the same line tell the count.
    package var logName: String? { names.log }

    private var names: (metric: String, log: String?) {
        switch self {
        // The log has packets as `sent`, and what was left out as frames, by fate.
        case .packetsQueued: ("packets_forwarded_total", nil)
        case .bytesQueued: ("packets_forwarded_bytes_total", nil)
        case .packetsSent: ("packets_sent_total", nil)
        case .bytesSent: ("packets_sent_bytes_total", nil)
        case .packetsDroppedByQueue: ("packets_dropped_total", nil)
        case .packetsLimited: ("packets_limited_total", nil)
        case .packetsSampledOut: ("packets_sampled_out_total", nil)
        case .packetsAbandoned: ("packets_abandoned_total", "abandoned_packets")
        case .bytesAbandoned: ("packets_abandoned_bytes_total", "abandoned_bytes")
        case .packetsLostWithoutBuffer: ("packets_lost_total", "lost_no_buffer")
        case .packetsLostUnreachable: ("packets_lost_total", "lost_unreachable")
        case .packetsLostAsTooLarge: ("packets_lost_total", "lost_too_large")
        case .packetsLostAsEcho: ("packets_lost_total", "lost_own_feed")
        case .packetsLostOtherwise: ("packets_lost_total", "lost_otherwise")
        case .bytesLost: ("packets_lost_bytes_total", "lost_bytes")
        case .framesUnaccounted: ("frames_unaccounted_total", "unaccounted")
        case .framesPunted: ("frames_punted_total", "punted")
        case .framesTranslated: ("frames_translated_total", "translated")
        case .framesUnexplained: ("frames_unexplained_total", "unexplained")
        case .fragments: ("fragments_total", "fragments")
        case .fragmentsNotHeld: ("fragments_not_held_total", "fragments_not_held")
        case .fragmentedEvicted: ("fragmented_evicted_total", "fragmented_evicted")
        case .strangersHeld: ("frames_awaiting_mac_total", "awaiting_mac")
        case .strangersNotHeld: ("frames_awaiting_mac_not_held_total", "awaiting_mac_not_held")
        case .copiesRefused: ("frames_copied_by_bridge_total", "copied_by_bridge")
        case .copiesEvicted:
            ("frames_copied_by_bridge_evicted_total", "copied_by_bridge_evicted")
        case .remotePodsEvicted: ("remote_pods_evicted_total", "remote_pods_evicted")
        case .framesSegmented: ("frames_segmented_total", "segmented")
        case .segments: ("segments_total", "segments")
        case .checksumsFinished: ("checksums_finished_total", "checksums_finished")
        case .tagsRestored: ("tags_restored_total", "tags_restored")
        case .datagramsSent: ("datagrams_sent_total", "datagrams")
        case .datagramsRefused: ("datagrams_refused_total", "datagrams_refused")
        case .datagramsFailed: ("datagrams_dropped_total", "datagrams_failed")
        case .datagramsTooLarge: ("datagrams_dropped_total", "datagrams_too_large")
        case .lookups: ("conntrack_lookups_total", "conntrack_lookups")
        case .lookupsSkipped: ("conntrack_lookups_skipped_total", "conntrack_lookups_skipped")
        case .lookupFailures: ("conntrack_lookup_failures_total", "conntrack_lookup_failures")
        case .conntrackOverruns: ("conntrack_overruns_total", "conntrack_overruns")
        case .conntrackListings: ("conntrack_listings_total", "conntrack_listings")
        case .flowsEvicted: ("conntrack_flows_evicted_total", "flows_evicted")
        case .callsNotLearned: ("calls_not_learned_total", "calls_not_learned")
        case .ciliumLookups: ("cilium_lookups_total", "cilium_lookups")
        case .ciliumLookupsSkipped: ("cilium_lookups_skipped_total", "cilium_lookups_skipped")
        case .ciliumLookupFailures: ("cilium_lookup_failures_total", "cilium_lookup_failures")
        case .serviceCalls: ("service_calls_total", "service_calls")
        case .serviceCallsUnexplained:
            ("service_calls_unexplained_total", "service_calls_unexplained")
        case .ringsReplaced: ("rings_replaced_total", "rings_replaced")
        case .ringsTooSmall: ("rings_too_small_total", "rings_too_small")
        case .ringsNotMoved: ("rings_not_moved_total", "rings_not_moved")
        case .programsNotReplaced: ("programs_not_replaced_total", "programs_not_replaced")
        }
    }

    /// The label `reason`, which tells metrics of the same name apart.
    package var reason: String? {
        switch self {
        case .datagramsFailed: "failed"
        case .datagramsTooLarge: "too_large"
        case .packetsLostWithoutBuffer: "no_buffer"
        case .packetsLostUnreachable: "unreachable"
        case .packetsLostAsTooLarge: "too_large"
        case .packetsLostAsEcho: "own_feed"
        case .packetsLostOtherwise: "other"
        default: nil
        }
    }

    /// What is counted, with the unit unless the name tells it.
    package var help: String {
        switch self {
        case .packetsQueued: "Packets put into the send queue; segments count one by one."
        case .bytesQueued, .bytesSent: "Bytes of these packets, including RPCAP headers."
        case .packetsSent:
            "Packets that the socket has taken; while packets wait, a few of them may be missing."
        case .packetsDroppedByQueue:
            "Packets lost because the send queue had no room; segments count one by one."
        case .packetsLimited: "Packets left out by the rate limit."
        case .packetsSampledOut: "Packets left out by the sampling that the peer asked for."
        case .packetsAbandoned:
            "Packets forwarded that were still in the send queue when their capture ended."
        case .bytesAbandoned: "Bytes of these packets, including RPCAP headers."
        case .packetsLostWithoutBuffer, .packetsLostUnreachable, .packetsLostAsTooLarge,
            .packetsLostAsEcho, .packetsLostOtherwise:
            "Packets forwarded that the kernel did not take for a tunnel, by reason."
        case .bytesLost: "Bytes of these packets, including RPCAP headers."
        case .framesUnaccounted:
            "Frames by which the accounts of edges were wrong: always 0, or podwire has a bug."
        case .framesPunted: "Frames that the kernel left to user space to decide."
        case .framesTranslated:
            "Frames to services and node addresses that were given their pod's address."
        case .framesUnexplained:
            "Frames to services and node addresses that connection tracking lacks."
        case .fragments: "Fragments among the frames that user space decided."
        case .fragmentsNotHeld:
            "Fragments that had to be decided before the first of their datagram came, for lack of room."
        case .fragmentedEvicted:
            "Fragmented packets whose ports were forgotten too soon, because there were too many."
        case .strangersHeld:
            "Frames that waited because nobody knew their MAC address yet, as a new guest's."
        case .strangersNotHeld: "Frames with such an address that found no room to wait."
        case .copiesRefused: "Further copies of one frame at other edges of a bridge: not reported."
        case .copiesEvicted:
            "Frames whose copies were forgotten too soon, because there were too many."
        case .remotePodsEvicted:
            "MAC addresses of other nodes' pods forgotten too soon, because there were too many."
        case .framesSegmented: "GSO packets that were cut into segments."
        case .segments: "Segments that these became."
        case .checksumsFinished: "Frames whose partial checksum was finished."
        case .tagsRestored: "Frames whose VLAN tag was put back."
        case .datagramsSent: "Datagrams of feeds over UDP and of tunnels that the kernel took."
        case .datagramsRefused:
            "Errors that came back for datagrams, as from a port where nobody listens."
        case .datagramsFailed, .datagramsTooLarge: "Datagrams that were not sent, by reason."
        case .lookups: "Flows looked up in connection tracking."
        case .lookupsSkipped: "Flows not looked up, because there were too many in a second."
        case .lookupFailures: "Lookups in connection tracking that failed."
        case .conntrackOverruns: "Times that events of new flows were lost."
        case .conntrackListings:
            "Times that calls to node addresses were listed again, because events were lost."
        case .flowsEvicted: "Flows forgotten before their time, because there were too many."
        case .callsNotLearned:
            "Calls reported in two forms: too many node addresses and ports are translated to pods."
        case .ciliumLookups: "Flows looked up in Cilium's tables."
        case .ciliumLookupsSkipped:
            "Flows not looked up there, because there were too many in a second."
        case .ciliumLookupFailures: "Lookups in Cilium's tables that failed."
        case .serviceCalls:
            "Calls to services that were learned of while capturing; one looked up again counts again, once a second at most."
        case .serviceCallsUnexplained:
            "Of these, calls that were answered though neither connection tracking nor Cilium knew them."
        case .ringsReplaced:
            "Rings that were replaced by a larger or smaller one, or by one at the other end of the pair."
        case .ringsTooSmall:
            "Times that there was no memory for a ring whose blocks hold an edge's largest packets."
        case .ringsNotMoved:
            "Times that a ring did not move to the other end of its pair, as the new one was full too soon or had no memory."
        case .programsNotReplaced:
            "Times that the kernel refused an edge's new program, so that the old one stayed."
        }
    }
}
