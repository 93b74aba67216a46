package import Addressing
import Linux
package import Netlink
import Observation
package import Settings
import Synchronization
import Taps

/// The number of incarnations so far, of all tables, so that no two edges have the same one.
private let incarnationCount = Atomic<UInt64>(0)

/// The node's interfaces and the pods behind them, as events and replies change them.
///
/// It does no input or output. An event may come twice or late, since it describes a state, not a
/// difference.
package struct EdgeTable: Sendable {
    var entries: [UInt32: Entry] = [:]
    private var addresses: [InterfaceAddress] = []
    private var routes: [Route] = []
    private var forwarding = ForwardingTable()
    /// What bridges knew before the changes that are withheld; nil if none are.
    private var shownForwarding: ForwardingTable?
    private var addressFailure: SystemError?
    /// Which edges are to be captured inside their pods.
    package var tapPlan: TapPlan
    /// The files of pods' network namespaces; nil if they have not been listed.
    var namespaces: NamespaceListing?
    /// The interfaces whose pods may have changed since the last query about them.
    private var pendingRefreshes: Set<UInt32> = []

    struct Entry: Sendable {
        let incarnation: UInt64
        var link: Link
        var pod: Pod?
        var name: PodName?
        /// The file of the pod's network namespace, as it was listed last; nil if it never was.
        var file: NamespaceFile?
        /// Whether the namespace had a file, and has none any more.
        var isFileGone = false
        /// The interface inside the pod, if it has no end in the node's namespace.
        var podInterface: PodInterface?
        /// The sources of frames from the pod that are not known as anybody's.
        var senders: [IPAddress] = []
    }

    /// The most unknown sources that are kept of a pod, which can send from any number of them.
    package static let senderCountMax = 16

    /// A table without interfaces.
    package init(_ tapPlan: TapPlan = TapPlan()) { self.tapPlan = tapPlan }

    /// Replaces the interfaces by those that exist now.
    package mutating func reset(links: [Link]) {
        let present = Set(links.map(\.index))
        for (index, entry) in entries
        where !present.contains(index) && entry.podInterface == nil { apply(.linkGone(index)) }
        for link in links { apply(.link(link)) }
    }

    /// Replaces the node's own addresses and routes.
    package mutating func reset(addresses: [InterfaceAddress], routes: [Route]) {
        self.addresses = addresses
        self.routes = routes
    }

    /// Applies a reply to a query about the node.
    package mutating func apply(_ reply: NodeReply) {
        switch reply {
        case .own(let addresses, let routes): reset(addresses: addresses, routes: routes)
        case .pod(let index, let pod):
            // Without an answer the pod keeps what it had; if it is another one, the link says so.
            guard pod != nil else { break }
            set(pod, behind: index)
            addressFailure = nil
        case .counters, .countersFailed: break
        case .podInterfaces(let interfaces, let asked):
            reset(podInterfaces: interfaces, in: asked)
        case .denied(let error): addressFailure = error
        }
    }

    /// Applies an event about what a bridge has learned.
    package mutating func apply(_ event: ForwardingEvent) { forwarding.apply(event) }

    /// Applies a listing of what bridges know behind their ports.
    package mutating func apply(_ listing: BridgeListing) { forwarding.apply(listing) }

    /// Withholds what bridges learn from now on, until `showForwarding`.
    package mutating func withholdForwarding() { shownForwarding = shownForwarding ?? forwarding }

    /// Shows what bridges have learned.
    package mutating func showForwarding() { shownForwarding = nil }

    /// Takes the ports behind which bridges have learned something since the last call.
    package mutating func takeChangedPorts() -> Set<UInt32> { forwarding.takeChangedPorts() }

    /// The pod behind an interface, as far as it is known.
    package func pod(behind index: UInt32) -> Pod? { entries[index]?.pod }

    /// The number of changes of what bridges know, so far.
    package var forwardingChangeCount: Int { forwarding.changeCount }

    /// The bridges that have pods as ports, and then their ports.
    package var bridgePorts: [UInt32] {
        let links = entries.values.map(\.link)
        let masters = Set(links.filter(canQuery).compactMap(\.master))
        let bridges = masters.filter { entries[$0]?.link.kind == "bridge" }.sorted()
        return bridges
            + links.filter { $0.master.map(bridges.contains) ?? false }.map(\.index).sorted()
    }

    /// The number of MAC addresses that were not kept for lack of room.
    package var notKeptMACCount: Int { forwarding.notKeptCount }

    /// Records a source of frames from a pod that is not known as anybody's.
    package mutating func addSender(_ address: IPAddress, behind index: UInt32) {
        guard let entry = entries[index], entry.senders.count < Self.senderCountMax,
            !entry.senders.contains(address)
        else { return }
        entries[index]?.senders.append(address)
    }

    /// Applies an event about an interface; other events change nothing here.
    package mutating func apply(_ event: NodeEvent) {
        switch event {
        case .link(let link):
            var entry = entries[link.index]
            if let known = entry?.link,
                known.peerNamespace != link.peerNamespace || known.peerIndex != link.peerIndex
            {
                // The other end belongs to another pod now, or to none.
                entry?.pod = nil
                entry?.name = nil
                entry?.file = nil
                entry?.isFileGone = false
                entry?.senders = []
            }
            if entry?.link.master != link.master { removePort(link.index) }
            if entry == nil {
                entry = Entry(incarnation: Self.nextIncarnation(), link: link)
            }
            entry?.link = link
            entries[link.index] = entry
            findNamespace(of: link.index)
            if canQuery(link) { pendingRefreshes.insert(link.index) }
        case .linkGone(let index):
            entries[index] = nil
            pendingRefreshes.remove(index)
            removePort(index)
        case .address, .route, .namespace: break
        }
    }

    /// Makes an incarnation that no other edge has.
    static func nextIncarnation() -> UInt64 { incarnationCount.add(1, ordering: .relaxed).newValue }

    private mutating func removePort(_ index: UInt32) {
        forwarding.removePort(index)
        shownForwarding?.removePort(index)
    }

    /// Whether the kernel can be asked about the pod behind an interface.
    func canQuery(_ link: Link) -> Bool {
        link.isPairEnd && link.peerNamespace != nil && link.peerIndex != 0
    }

    /// Requests that the pods in some namespaces are asked about, or all pods if it is nil.
    package mutating func requestRefresh(inside namespaces: Set<Int32>?) {
        for (index, entry) in entries where canQuery(entry.link) {
            guard let namespace = entry.link.peerNamespace,
                namespaces?.contains(namespace) ?? true
            else { continue }
            pendingRefreshes.insert(index)
        }
    }

    /// Takes the interfaces whose pods have to be asked about, each once.
    package mutating func takePendingRefreshes() -> [UInt32] {
        defer { pendingRefreshes = [] }
        return pendingRefreshes.sorted()
    }

    /// All interfaces whose pods can be asked about.
    package var queryableIndexes: [UInt32] {
        entries.values.map(\.link).filter(canQuery).map(\.index).sorted()
    }

    /// The interfaces whose pods have addresses that only the node's routes tell to be theirs.
    var indexesWithFurtherAddresses: [UInt32] {
        entries.values.filter { $0.pod?.hasFurtherAddresses ?? false }.map(\.link.index).sorted()
    }

    /// Sets the pod behind an interface; nil if it is not known.
    package mutating func set(_ pod: Pod?, behind index: UInt32) {
        entries[index]?.pod = pod
    }

    /// Sets the names of pods, by the incarnations of their edges.
    package mutating func set(_ names: [UInt64: PodName]) {
        guard !names.isEmpty else { return }
        for (index, entry) in entries {
            if let name = names[entry.incarnation] { entries[index]?.name = name }
        }
    }

    /// Requests that the pods of the bridges of some edges are asked about.
    package mutating func requestRefresh(onBridgesOf indexes: Set<UInt32>) {
        let bridges = Set(indexes.compactMap { entries[$0]?.link.master })
        for (index, entry) in entries where canQuery(entry.link) {
            guard let bridge = entry.link.master, bridges.contains(bridge) else { continue }
            pendingRefreshes.insert(index)
        }
    }

    /// Requests that the pods behind some interfaces are asked about.
    package mutating func requestRefresh(behind indexes: Set<UInt32>) {
        for index in indexes {
            guard let link = entries[index]?.link, canQuery(link) else { continue }
            pendingRefreshes.insert(index)
        }
    }

    /// The node as it is known now, with the edges that a selection captures.
    package func node(_ selection: EdgeSelection) -> Node {
        let uplinks = UplinkTest(routes, addresses, selection)
        let veths = entries.values.filter { $0.link.isPairEnd || $0.podInterface != nil }
            .sorted { $0.link.index < $1.link.index }
            .map { veth($0, uplinks, selection) }
        let links = entries.filter { $0.value.podInterface == nil }.mapValues(\.link)
        let macs = macTable(veths, links)
        let addressesByEdge = macs.addressesByEdge()
        return Node(
            veths: veths.map { $0.with(macs: addressesByEdge[$0.link.index] ?? []) }, links: links,
            addresses: addresses, routes: routes, macs: macs, addressFailure: addressFailure)
    }

    private func veth(
        _ entry: Entry, _ uplinks: UplinkTest, _ selection: EdgeSelection
    ) -> Veth {
        var status = Veth.EdgeStatus(
            of: entry.link, isUplink: uplinks.isUplink(entry.link.index, entry.pod))
        let pod = status == .captured ? entry.pod : nil
        if status == .captured {
            status = Veth.EdgeStatus(
                selection.verdict(name: entry.link.name, addresses: pod?.addresses))
        }
        let tap = tap(entry)
        if status == .captured {
            if tapPlan.wantsPod(entry.link) || entry.podInterface != nil, entry.isFileGone {
                status = .namespaceGone
            } else if entry.link.isNetkit, tap == .host {
                status = .needsPodTap
            }
        }
        return Veth(
            incarnation: entry.incarnation, link: entry.link, status: status, tap: tap,
            podAddresses: pod?.addresses, podMAC: pod?.mac,
            podGSOByteCountMax: pod?.gsoByteCountMax,
            claimedAddresses: (pod?.unreachedAddresses ?? []).filter { address in
                !selection.podNetworks.contains { $0.contains(address) }
            },
            otherAddresses: (pod?.otherAddresses ?? []).filter { other in
                !addresses.contains { $0.address == other }
            },
            senders: entry.senders.filter { sender in
                pod.map { !($0.addresses + $0.otherAddresses).contains(sender) } ?? true
            }, pod: entry.name)
    }

    /// The MAC addresses on the node's bridges, and where each lives.
    ///
    /// What a bridge knows now counts before what a pod has by itself, even before the pod's own
    /// address: the bridge sends frames there, also those to an address that another pod has taken.
    /// What it has forgotten counts last.
    private func macTable(_ veths: [Veth], _ links: [UInt32: Link]) -> MACTable {
        let forwarding = shownForwarding ?? forwarding
        let edges = veths.filter { $0.isCaptured && $0.link.master != nil }
        let indexes = Set(edges.map(\.link.index))
        var table = MACTable(crowdedEdges: forwarding.crowdedPorts.intersection(indexes))
        for bridge in Set(edges.compactMap(\.link.master)) {
            if let mac = links[bridge]?.mac { table.add(mac, on: bridge, at: .elsewhere) }
        }
        let isPort = { (port: UInt32, bridge: UInt32) in links[port]?.master == bridge }
        forwarding.add(
            to: &table, isCurrent: true, isPort: isPort, isEdge: indexes.contains)
        for edge in edges {
            guard let bridge = edge.link.master, let mac = edge.podMAC else { continue }
            table.add(mac, on: bridge, at: .edge(edge.link.index))
        }
        for edge in edges {
            guard let bridge = edge.link.master else { continue }
            for mac in entries[edge.link.index]?.pod?.otherMACs ?? [] {
                table.add(mac, on: bridge, at: .edge(edge.link.index))
            }
        }
        forwarding.add(
            to: &table, isCurrent: false, isPort: isPort, isEdge: indexes.contains)
        return table
    }
}
