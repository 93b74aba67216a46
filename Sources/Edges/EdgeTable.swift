package import Addressing
import Linux
package import Netlink
package import Settings
import Synchronization

/// The number of incarnations so far, of all tables, so that no two edges have the same one.
private let incarnationCount = Atomic<UInt64>(0)

/// The node's interfaces and the pods behind them, as events and replies change them.
///
/// It does no input or output. An event may come twice or late, since it describes a state, not a
/// difference.
package struct EdgeTable: Sendable {
    private var entries: [UInt32: Entry] = [:]
    private var addresses: [InterfaceAddress] = []
    private var routes: [Route] = []
    private var addressFailure: SystemError?
    /// The interfaces whose pods may have changed since the last query about them.
    private var pendingRefreshes: Set<UInt32> = []

    private struct Entry: Sendable {
        let incarnation: UInt64
        var link: Link
        var pod: Pod?
        var name: PodName?
    }

    /// The addresses at the pod's end of a veth pair.
    package struct Pod: Equatable, Sendable {
        /// The IP addresses, link-local ones included.
        package let addresses: [IPAddress]
        /// The MAC address.
        package let mac: MACAddress?
        /// The largest GSO packet that the pod's end sends; nil if it is not known.
        package let gsoByteCountMax: Int?

        /// A pod by its addresses.
        package init(addresses: [IPAddress], mac: MACAddress?, gsoByteCountMax: Int? = nil) {
            (self.addresses, self.mac) = (addresses, mac)
            self.gsoByteCountMax = gsoByteCountMax
        }
    }

    /// A table without interfaces.
    package init() {}

    /// Replaces the interfaces by those that exist now.
    package mutating func reset(links: [Link]) {
        let present = Set(links.map(\.index))
        for index in entries.keys where !present.contains(index) { apply(.linkGone(index)) }
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
        case .denied(let error): addressFailure = error
        }
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
            }
            if entry == nil {
                let incarnation = incarnationCount.add(1, ordering: .relaxed).newValue
                entry = Entry(incarnation: incarnation, link: link)
            }
            entry?.link = link
            entries[link.index] = entry
            if canQuery(link) { pendingRefreshes.insert(link.index) }
        case .linkGone(let index):
            entries[index] = nil
            pendingRefreshes.remove(index)
        case .address, .route, .namespace: break
        }
    }

    /// Whether the kernel can be asked about the pod behind an interface.
    private func canQuery(_ link: Link) -> Bool {
        link.kind == "veth" && link.peerNamespace != nil && link.peerIndex != 0
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

    /// The node as it is known now, with the edges that a selection captures.
    package func node(_ selection: EdgeSelection) -> Node {
        let uplinks = Set(routes.filter(\.isDefault).compactMap(\.interfaceIndex))
        let veths = entries.values.filter { $0.link.kind == "veth" }
            .sorted { $0.link.index < $1.link.index }
            .map { veth($0, uplinks, selection) }
        return Node(
            veths: veths, links: entries.mapValues(\.link), addresses: addresses, routes: routes,
            addressFailure: addressFailure)
    }

    private func veth(
        _ entry: Entry, _ uplinks: Set<UInt32>, _ selection: EdgeSelection
    ) -> Veth {
        var status = Veth.EdgeStatus(of: entry.link, uplinks: uplinks)
        let pod = status == .captured ? entry.pod : nil
        if status == .captured {
            status = Veth.EdgeStatus(
                selection.verdict(name: entry.link.name, addresses: pod?.addresses))
        }
        return Veth(
            incarnation: entry.incarnation, link: entry.link, status: status,
            podAddresses: pod?.addresses, podMAC: pod?.mac,
            podGSOByteCountMax: pod?.gsoByteCountMax, pod: entry.name)
    }
}
