import Addressing
import Edges
import Forwarding
import Metrics
import Netlink
import Observation
import Packets
import Settings
import Taps

extension AgentMetrics {
    /// All metrics, in the order of the page.
    ///
    /// To add one, add it to a list below; what a capture counts is added to `CaptureMetric`.
    static let all =
        agent + handovers + peers + captures + gauges + edges + node + refusals + process

    private static func gauge(
        _ name: String, _ help: String, labels: [String] = [],
        _ samples: @escaping @Sendable (AgentMetrics) -> [Sample]
    ) -> Metric {
        Metric(family: .init("podwire_\(name)", .gauge, help, labels: labels), samples: samples)
    }

    private static func counter(
        _ name: String, _ help: String, labels: [String] = [],
        _ samples: @escaping @Sendable (AgentMetrics) -> [Sample]
    ) -> Metric {
        Metric(family: .init("podwire_\(name)", .counter, help, labels: labels), samples: samples)
    }

    private static let agent = [
        gauge("build_info", "Always 1; the labels tell the build.", labels: ["version", "swift"]) {
            _ in [Sample([Version.number, Version.swift], 1)]
        },
        gauge("ready", "Whether packets can reach a sensor, as /readyz reports it.") {
            [Sample(isTrue: $0.isReady)]
        },
    ]

    /// What becomes of handovers: an alert on these tells of an update that is stuck, or undone again and again.
    private static let handovers = [
        gauge(
            "handover_pending",
            "Whether a newer agent of the node is there that does not forward yet, with `--handover`."
        ) { [Sample(isTrue: $0.status.isAccompanied.isSet)] },
        counter(
            "handovers_total",
            "Times that the agent has taken over from an older one of its node, with `--handover`."
        ) { [Sample($0.status.handovers.value)] },
        counter(
            "handovers_undone_total",
            "Times that a newer agent was gone, before or after it took over, so that this one goes on."
        ) { [Sample($0.status.handoversUndone.value)] },
    ]

    private static let peers = [
        gauge("sessions_open", "Sessions that are open.", labels: ["sensor"]) {
            $0.status.peers.map { Sample([$0.name], $0.sessions.value) }
        },
        gauge(
            "sensor_wanted",
            "Whether the node misses the sensor if there is no session: not while it feeds a better one.",
            labels: ["sensor"]
        ) { $0.status.sensors.map { Sample([$0.name], isTrue: $0.isWanted.isSet) } },
        counter(
            "sessions_total", "Sessions begun; each after a sensor's first is a reconnect.",
            labels: ["sensor"]
        ) { $0.status.peers.map { Sample([$0.name], $0.sessionsBegun.value) } },
        counter(
            "connect_failures_total", "Connections to the sensor that failed.", labels: ["sensor"]
        ) { $0.status.sensors.map { Sample([$0.name], $0.connectionsFailed.value) } },
        counter(
            "sensor_changes_total",
            "Times that the node has begun to feed another sensor, with `--sensor-policy one`."
        ) { [Sample($0.status.sensorChanges.value)] },
        gauge("captures", "Captures that run.", labels: ["sensor"]) {
            $0.status.peers.map { Sample([$0.name], $0.captures.count) }
        },
    ]
}

/// What captures count.
extension AgentMetrics {
    private static let captures = frames + counts + [unrepaired] + requests

    private static let frames = [
        counter("frames_matched_total", "Frames that the kernel let through.", labels: ["sensor"]) {
            $0.peers.map { Sample([$0.name], $0.counts.frames.matched) }
        },
        counter(
            "frames_total",
            "These frames by fate: each frame has one fate, or is still on its way.",
            labels: ["sensor", "fate"]
        ) {
            $0.peers.flatMap { peer in
                Fate.allCases.map { Sample([peer.name, $0.name], peer.counts.frames[$0]) }
            }
        },
    ]

    /// All counts of captures, in families.
    private static let counts = byName(CaptureMetric.allCases).map { family in
        counter(family, labels: ["sensor"]) { metrics in
            metrics.peers.map { peer in ([peer.name], { peer.counts[$0] }) }
        }
    }

    /// All counts of requests, in families: of each capture, and of each edge.
    private static let requests = byName(RequestMetric.allCases).flatMap { family in
        [
            counter(family, labels: ["sensor"]) { metrics in
                metrics.peers.map { peer in ([peer.name], { peer.counts.frames[$0] }) }
            },
            counter(
                family, prefix: "edge_", note: " \(otherEdges)", labels: ["sensor", "edge"]
            ) { metrics in
                metrics.edges.map { edge in (edge.labels, { edge.frames[$0] }) }
            },
        ]
    }

    /// Puts counts of the same name, which stand behind each other, together.
    private static func byName<Count: NamedCount>(_ counts: [Count]) -> [[Count]] {
        counts.reduce(into: []) { families, count in
            if families.last?.first?.name == count.name {
                families[families.count - 1].append(count)
            } else {
                families.append([count])
            }
        }
    }

    /// A family of counts that have one name, and are told apart by their reasons if they are several.
    ///
    /// - Parameters:
    ///   - family: The counts.
    ///   - prefix: What stands before their name.
    ///   - note: What stands behind their help.
    ///   - labels: The names of the labels before `reason`.
    ///   - rows: The values of these labels, and how a count is read for them.
    /// - Returns: The family.
    private static func counter<Count: NamedCount>(
        _ family: [Count], prefix: String = "", note: String = "", labels: [String],
        _ rows:
            @escaping @Sendable (AgentMetrics) -> [(
                labels: [String], value: (Count) -> UInt64
            )]
    ) -> Metric {
        let first = family[0]
        return counter(
            prefix + first.name, first.help + note,
            labels: first.reason == nil ? labels : labels + ["reason"]
        ) { metrics in
            rows(metrics).flatMap { row in
                family.map { count in
                    Sample(
                        row.labels + [count.reason].compactMap { $0 }, row.value(count))
                }
            }
        }
    }

    private static let unrepaired = counter(
        "frames_unrepaired_total",
        "Frames sent as they were captured, because they could not be repaired, by reason.",
        labels: ["sensor", "reason"]
    ) {
        $0.peers.flatMap { peer in
            WireForm.Obstacle.allCases.map { Sample([peer.name, $0.name], peer.counts[$0]) }
        }
    }

    private static let gauges = [
        gauge("ring_memory_bytes", "Memory of the rings of all captures, bytes.") {
            [Sample($0.sum(\.ringBytes))]
        },
        gauge(
            "ring_memory_limit_bytes",
            "The most bytes that the rings of all captures may take together, beside one of 256 KiB for each."
        ) {
            [Sample($0.settings.capture.ringByteCountMax)]
        },
        gauge("queue_bytes", "Bytes in the send queues of all captures.", labels: ["sensor"]) {
            metrics in
            metrics.status.peers.map { peer in
                Sample(
                    [peer.name], peer.captures.reduce(0) { $0 + $1.counters.queueBytes.value })
            }
        },
        gauge("queue_limit_bytes", "The most bytes that the send queue of one session may hold.") {
            [Sample($0.settings.capture.queueByteCountMax)]
        },
        gauge(
            "frames_held",
            "Frames that wait for the answer to a request, or for the first fragment of their datagram."
        ) { [Sample($0.sum(\.framesHeld))] },
        gauge("edges_sharing_ring", "Edges that share one ring because ring memory is used up.") {
            [Sample($0.sum(\.edgesSharing))]
        },
        gauge(
            "cilium_tables_used",
            "Captures that look calls to services up in Cilium's tables, by family.",
            labels: ["family"]
        ) { metrics in
            [
                Sample(["ipv4"], metrics.sum(\.ciliumIPv4)),
                Sample(["ipv6"], metrics.sum(\.ciliumIPv6)),
            ]
        },
        gauge("edges_captured_inside", "Edges whose rings are inside their pods.") {
            [Sample($0.sum(\.edgesInside))]
        },
        gauge(
            "rings_slow", "Rings of edges that say little, whose packets come up to 180 ms later."
        ) { [Sample($0.sum(\.ringsSlow))] },
    ]

    /// A gauge's sum over all captures, of which sessions share one.
    private func sum(_ gauge: (CaptureCounters) -> Gauge) -> Int {
        let captures = status.peers.flatMap(\.captures).map(\.gauges)
        let distinct = Dictionary(
            captures.map { (ObjectIdentifier($0), $0) }, uniquingKeysWith: { first, _ in first })
        return distinct.values.reduce(0) { $0 + gauge($1).value }
    }

    private static let edges = [
        edgeFrames("matched", "Frames that the kernel let through at the edge.") { $0.matched },
        edgeFrames("forwarded", "Frames of the edge put into the send queue.") { $0[.forwarded] },
        edgeFrames("dropped", "Frames of the edge lost in the ring or at the send queue.") {
            $0[.droppedByRing] + $0[.droppedByBlock] + $0[.droppedByQueue]
        },
    ]

    private static let otherEdges =
        "Edges beyond \(EdgeLabelSet.countMax), and those gone, are one series."

    private static func edgeFrames(
        _ name: String, _ help: String, _ count: @escaping @Sendable (FrameCounts) -> UInt64
    ) -> Metric {
        counter(
            "edge_frames_\(name)_total",
            "\(help) \(otherEdges)",
            labels: ["sensor", "edge"]
        ) { $0.edges.map { Sample($0.labels, count($0.frames)) } }
    }
}

/// What the agent knows of its node, and whom it refused.
extension AgentMetrics {
    private static let node = [
        gauge(
            "edges",
            "Edges of pods on this node that are to be captured, by the end of their pair.",
            labels: ["side"]
        ) { metrics in
            TapSide.allCases.map { side in
                Sample(
                    [side.rawValue],
                    metrics.node.capturedVeths.count { $0.tap.side == side })
            }
        },
        gauge("edges_down", "Edges that are down.") {
            [Sample($0.node.capturedVeths.count { !$0.link.isUp })]
        },
        gauge("edges_without_addresses", "Edges whose pod's addresses are not known.") {
            [Sample($0.node.edgeCountWithoutAddresses)]
        },
        gauge(
            "edge_info", "Always 1; the labels tell the pod of an edge, if its name is known.",
            labels: ["edge", "pod_namespace", "pod_name"]
        ) {
            // Scrapers add labels `namespace` and `pod` of their own, which are the agent's.
            $0.node.capturedVeths.prefix(EdgeLabelSet.countMax).map {
                Sample([$0.link.name, $0.pod?.namespace ?? "", $0.pod?.name ?? ""], 1)
            }
        },
        gauge("veths_not_captured", "Other veths, by the reason.", labels: ["reason"]) { metrics in
            Veth.EdgeStatus.allCases.filter { $0 != .captured }.map { status in
                Sample([status.name], metrics.node.veths.count { $0.status == status })
            }
        },
        gauge("netlink_synced", "Whether the agent knows the node's network as it is now.") {
            [Sample(isTrue: $0.status.node.isSynced.isSet)]
        },
        counter(
            "netlink_resyncs_total",
            "Times that events of the node's network were lost, so that all was read again."
        ) { [Sample($0.status.node.resyncs.value)] },
        gauge(
            "edges_with_unknown_senders",
            "Edges whose pods send from addresses that are nobody's, as VPN gateways do."
        ) { metrics in
            let networks = metrics.node.networksBehindPods
            return [
                Sample(
                    metrics.node.capturedVeths.count {
                        !metrics.node.unknownSenders(of: $0, networks).isEmpty
                    })
            ]
        },
        gauge("bridge_macs", "MAC addresses that are known on the bridges of edges.") {
            [Sample($0.node.macs.count)]
        },
        counter(
            "bridge_macs_not_kept_total",
            "MAC addresses not kept because too many live behind one port of a bridge."
        ) { [Sample($0.status.node.macsNotKept.value)] },
        counter(
            "bridge_listings_total",
            "Times that bridges were listed again because events about MAC addresses were lost."
        ) { [Sample($0.status.node.bridgeListings.value)] },
        counter(
            "bridge_ports_cut_total",
            "Ports of bridges that had more MAC addresses than are listed, in each listing."
        ) { [Sample($0.status.node.bridgePortsCut.value)] },
        counter(
            "pod_macs_taken_total",
            "Times that a bridge learned a pod's own MAC address behind another pod's edge."
        ) { [Sample($0.status.node.macsTaken.value)] },
        counter(
            "pod_changes_postponed_total",
            "Changes of pods' addresses that waited, for up to half a second: a pod makes too many."
        ) { [Sample($0.status.node.podChangesPostponed.value)] },
        counter("netlink_failures_total", "Times that following the node's network failed.") {
            [Sample($0.status.node.failures.value)]
        },
    ]

    /// A counter by reason; reasons without a label are left out.
    private static func counter<Reason>(
        _ name: String, _ help: String,
        _ counters: @escaping @Sendable (AgentStatus) -> ReasonCounters<Reason>,
        label: @escaping @Sendable (Reason) -> String?
    ) -> Metric {
        counter(name, help, labels: ["reason"]) { metrics in
            Reason.allCases.compactMap { reason in
                label(reason).map { Sample([$0], counters(metrics.status).value(reason)) }
            }
        }
    }

    private static let refusals = [
        counter(
            "taps_failed_total",
            "Times that no socket was opened inside a pod, so its edge is captured at the host's end.",
            \.tapsFailed
        ) { $0 == .gone ? nil : $0.rawValue },
        counter(
            "clients_refused_total",
            "Clients sent away before they could log in: `not_allowed` by address, or for a limit.",
            \.clientsRefused
        ) { $0.name },
        counter(
            "clients_evicted_total",
            "Clients that had not logged in, or captured nothing, sent away for newer ones.",
            \.clientsEvicted
        ) { $0.name },
        counter(
            "logins_refused_total",
            "Logins that were `wrong`; or refused untried: `address_barred`, `too_many_at_once`.",
            \.loginsRefused
        ) { $0.name },
        counter(
            "tls_handshake_failures_total", "TLS handshakes of control connections that failed."
        ) { [Sample($0.status.handshakesFailed.value)] },
    ]
}

/// A count with a name on the page; counts of the same name have different reasons.
private protocol NamedCount: Sendable {
    var name: String { get }
    var help: String { get }
    var reason: String? { get }
}

extension CaptureMetric: NamedCount {}
extension RequestMetric: NamedCount {}

extension Veth.EdgeStatus {
    /// The metrics' label `reason`.
    fileprivate var name: String {
        switch self {
        case .captured: "captured"
        case .peerIsHere: "peer_is_here"
        case .peerIsGone: "peer_is_gone"
        case .uplink: "uplink"
        case .excluded: "excluded"
        case .outsidePodNetworks: "outside_pod_networks"
        case .needsPodTap: "needs_pod_tap"
        case .namespaceGone: "namespace_gone"
        }
    }
}
