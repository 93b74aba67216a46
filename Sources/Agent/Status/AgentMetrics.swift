import Addressing
import Edges
import Formats
import Forwarding
import Metrics
import Netlink
import Settings

/// The page of metrics: what captures have counted for each sensor, each edge's part of it, and what the
/// agent knows of its node and of itself.
struct AgentMetrics {
    private typealias Family = Exposition.Family
    private typealias Label = Exposition.Label
    private typealias Sample = Exposition.Sample

    private let status: AgentStatus
    private let feed: NodePublisher
    private let settings: Settings

    init(_ status: AgentStatus, _ feed: NodePublisher, _ settings: Settings) {
        (self.status, self.feed, self.settings) = (status, feed, settings)
    }

    func text(_ series: inout EdgeLabelSet) -> String {
        var page = Exposition()
        addBuild(to: &page)
        addPeers(to: &page)
        addTotals(to: &page)
        addLevels(to: &page)
        addEdges(to: &page, &series)
        addNode(to: &page)
        addRefusals(to: &page)
        return page.text
    }

    private func gauge(_ name: String, _ help: String) -> Family {
        Family("podwire_\(name)", .gauge, help)
    }

    private func counter(_ name: String, _ help: String) -> Family {
        Family("podwire_\(name)", .counter, help)
    }

    private func addBuild(to page: inout Exposition) {
        let labels = [Label("version", Version.number), Label("swift", Version.swift)]
        page.add(
            gauge("build_info", "Always 1; the labels say what was built."), [Sample(labels, 1)])
        page.add(
            gauge("ready", "Whether packets can reach a sensor, as /readyz has it."),
            [Sample(isTrue: Health.readiness(of: status, feed.mismatch).isGood)])
    }

    /// A sample for each sensor, and one for clients if there may be any.
    private func samples(_ value: (PeerStatus) -> some BinaryInteger) -> [Sample] {
        status.peers.map { Sample([label($0)], value($0)) }
    }

    private func label(_ peer: PeerStatus) -> Label { Label("sensor", peer.name) }

    private func addPeers(to page: inout Exposition) {
        page.add(
            gauge("sessions_open", "Sessions that there are now."), samples { $0.sessions.value })
        page.add(
            counter(
                "sessions_total", "Sessions begun; each after a sensor's first is a reconnect."),
            samples { $0.sessionsBegun.value })
        page.add(
            counter("connect_failures_total", "Connections to the sensor that could not be made."),
            status.sensors.map { Sample([label($0)], $0.connectionsFailed.value) })
        page.add(gauge("captures", "Captures that run now."), samples { $0.captures.count })
    }

    private func addTotals(to page: inout Exposition) {
        let totals = status.peers.map { (labels: [label($0)], totals: $0.totals) }
        page.add(
            counter("frames_matched_total", "Frames that the kernel let through."),
            totals.map { Sample($0.labels, $0.totals.frames.matched) })
        page.add(
            counter(
                "frames_total",
                "What has become of these frames: each has one fate, or is still on its way."),
            totals.flatMap { labels, totals in
                totals.frames.fates.map { Sample(labels + [Label("fate", $0.name)], $0.count) }
            })
        var index = 0
        while index < CaptureFigure.all.count {
            let family = CaptureFigure.all[index].family
            let end =
                CaptureFigure.all[index...].firstIndex { $0.family != family }
                ?? CaptureFigure.all.count
            page.add(
                family,
                totals.flatMap { labels, totals in
                    (index..<end).map { index in
                        let own = CaptureFigure.all[index].label
                        return Sample(labels + [own].compactMap { $0 }, totals.values[index])
                    }
                })
            index = end
        }
    }

    private func addLevels(to page: inout Exposition) {
        let sum = { (level: @escaping (CaptureLevels) -> Gauge) in
            samples { peer in
                peer.captures.reduce(0) { $0 + level($1.counters.levels).value }
            }
        }
        page.add(
            gauge("ring_memory_bytes", "Memory of the rings of all captures, bytes."),
            sum { $0.ringBytes })
        page.add(
            gauge(
                "ring_memory_limit_bytes", "The most that the rings of one capture may take, bytes."
            ),
            [Sample(settings.ringByteCountMax)])
        page.add(
            gauge("queue_bytes", "What waits in the send queues of all captures, bytes."),
            sum { $0.queueBytes })
        page.add(
            gauge("queue_limit_bytes", "The most that the queue of one capture may hold, bytes."),
            [Sample(settings.queueByteCountMax)])
        page.add(
            gauge("edges_sharing_ring", "Edges that share one ring because memory is used up."),
            sum { $0.edgesSharing })
    }

    private func addNode(to page: inout Exposition) {
        let node = feed.node
        let edges = node.capturedVeths
        page.add(gauge("edges", "Edges of pods that are to be captured."), [Sample(edges.count)])
        page.add(
            gauge("edges_down", "Of these, those that are down."),
            [Sample(edges.count { !$0.link.isUp })])
        page.add(
            gauge("edges_blind", "Of these, those whose pods' addresses are not known."),
            [Sample(node.edgeCountWithoutAddresses)])
        page.add(
            gauge(
                "edge_info", "Always 1; the labels say whose edge it is, if pods' names are known."),
            edges.prefix(EdgeLabelSet.countMax).map { Sample($0.labels + $0.podLabels, 1) })
        page.add(
            gauge("veths_not_captured", "Other veths, by the reason why they are not captured."),
            Veth.EdgeStatus.allCases.filter { $0 != .captured }.map { status in
                let count = node.veths.count { $0.status == status }
                return Sample([Label("reason", status.name)], count)
            })
        page.add(
            gauge("netlink_in_step", "Whether the node's network is known as it is now."),
            [Sample(isTrue: status.node.isSynced.isSet)])
        page.add(
            counter(
                "netlink_resyncs_total",
                "Times that events of the node's network were lost and everything was read anew."),
            [Sample(status.node.resyncs.value)])
        page.add(
            counter("netlink_failures_total", "Times that following the node's network failed."),
            [Sample(status.node.failures.value)])
    }

    private func addRefusals(to page: inout Exposition) {
        page.add(
            counter("clients_refused_total", "Clients sent away before they could log in."),
            [Sample(status.clientsRefused.value)])
        page.add(
            counter(
                "logins_refused_total",
                "Logins that were wrong, or refused untried after wrong ones."),
            [Sample(status.loginsRefused.value)])
        page.add(
            counter(
                "tls_handshake_failures_total",
                "Control connections over TLS that could not be begun."),
            [Sample(status.handshakesFailed.value)])
    }
}

/// Each edge's part.
extension AgentMetrics {
    /// What stands for the name of an edge where there is none: names have no spaces.
    private static let otherEdges = "all others"

    private func addEdges(to page: inout Exposition, _ series: inout EdgeLabelSet) {
        // First what was counted: an edge that is not among those of the node is no more.
        let peers = status.peers.map { (label: label($0), accounts: $0.edges) }
        let veths = Dictionary(feed.node.veths.map { ($0.incarnation, $0) }) { $1 }
        let counted = Set(peers.flatMap { $0.accounts.edges.keys })
        series.update(counted.filter { veths[$0] != nil || $0 == SharedRing.incarnation })
        var figures: [(labels: [Label], frames: FrameCounters.Counts)] = []
        for (sensor, accounts) in peers {
            var others = accounts.gone
            for (incarnation, edge) in accounts.edges.sorted(by: { $0.key < $1.key }) {
                if series.incarnations.contains(incarnation) {
                    let own = veths[incarnation]?.labels ?? [Label("edge", edge.name)]
                    figures.append(([sensor] + own, edge.frames))
                } else {
                    others += edge.frames
                }
            }
            figures.append(([sensor, Label("edge", Self.otherEdges)], others))
        }
        let families: [(String, String, (FrameCounters.Counts) -> UInt64)] = [
            (
                "edge_frames_matched_total", "Frames that the kernel let through at the edge.",
                \.matched
            ),
            (
                "edge_frames_forwarded_total", "Of these, those put into the send queue.",
                \.forwarded
            ),
            (
                "edge_frames_dropped_total", "Of these, those lost in the ring or at the queue.",
                { $0.droppedByRing + $0.droppedByQueue }
            ),
        ]
        for (name, help, value) in families {
            page.add(
                counter(
                    name,
                    "\(help) Edges beyond \(EdgeLabelSet.countMax), and those gone, are one series."
                ),
                figures.map { Sample($0.labels, value($0.frames)) })
        }
    }
}

extension Veth {
    /// What tells the edge from others.
    fileprivate var labels: [Exposition.Label] { [Exposition.Label("edge", link.name)] }

    /// What its pod is called. Who scrapes puts labels `namespace` and `pod` of its own to everything, and
    /// these are the agent's.
    fileprivate var podLabels: [Exposition.Label] {
        [
            Exposition.Label("pod_namespace", pod?.namespace ?? ""),
            Exposition.Label("pod_name", pod?.name ?? ""),
        ]
    }
}

extension Veth.EdgeStatus {
    fileprivate var name: String {
        switch self {
        case .captured: "captured"
        case .peerIsHere: "peer_is_here"
        case .peerIsGone: "peer_is_gone"
        case .uplink: "uplink"
        case .excluded: "excluded"
        case .outsidePodNetworks: "outside_pod_networks"
        }
    }
}
