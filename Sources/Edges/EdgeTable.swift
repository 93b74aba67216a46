package import Settings
package import Addressing
import Linux
import Synchronization
package import Netlink

/// Lives are numbered through, so that no table takes another one's edge for its own.
private let incarnationCount = Atomic<UInt64>(0)

/// What is known of the node's interfaces and of the pods behind them, as events change it.
///
/// Pure: events and answers come in, a node comes out. Events may come twice, or late: each says how
/// things are, and none how they differ.
package struct EdgeTable: Sendable {
    private var entries: [UInt32: Entry] = [:]
    private var addresses: [InterfaceAddress] = []
    private var routes: [Route] = []
    private var blindness: SystemError?
    /// Interfaces whose pods may have become others since they were asked about.
    private var unasked: Set<UInt32> = []

    private struct Entry: Sendable {
        let incarnation: UInt64
        var link: Link
        var pod: Pod?
        var name: PodName?
    }

    /// What a pod's own namespace says of the other end of a veth.
    package struct Pod: Equatable, Sendable {
        package let addresses: [IPAddress]
        package let mac: MACAddress?

        package init(addresses: [IPAddress], mac: MACAddress?) {
            (self.addresses, self.mac) = (addresses, mac)
        }
    }

    package init() {}

    /// Takes all interfaces as they are now; those that are missing are gone.
    package mutating func reset(links: [Link]) {
        let present = Set(links.map(\.index))
        for index in entries.keys where !present.contains(index) { apply(.linkGone(index)) }
        for link in links { apply(.link(link)) }
    }

    package mutating func reset(addresses: [InterfaceAddress], routes: [Route]) {
        self.addresses = addresses
        self.routes = routes
    }

    /// Takes an answer about the node.
    mutating func apply(_ answer: NodeAnswer) {
        switch answer {
        case .own(let addresses, let routes): reset(addresses: addresses, routes: routes)
        case .pod(let index, let pod):
            // What a pod had is what it had last; when another one is there, the link says so.
            guard pod != nil else { break }
            set(pod, behind: index)
            blindness = nil
        case .blind(let error): blindness = error
        }
    }

    /// Takes an event about an interface; the others say only that something is to be looked at.
    package mutating func apply(_ event: NodeEvent) {
        switch event {
        case .link(let link):
            var entry = entries[link.index]
            if let known = entry?.link,
                known.peerNamespace != link.peerNamespace
                    || known.peerIndex != link.peerIndex
            {
                // The other end is another pod's now, or nobody's.
                entry?.pod = nil
                entry?.name = nil
            }
            if entry == nil {
                let incarnation = incarnationCount.add(1, ordering: .relaxed).newValue
                entry = Entry(incarnation: incarnation, link: link)
            }
            entry?.link = link
            entries[link.index] = entry
            if isAskable(link) { unasked.insert(link.index) }
        case .linkGone(let index):
            entries[index] = nil
            unasked.remove(index)
        case .address, .route, .namespace: break
        }
    }

    private func isAskable(_ link: Link) -> Bool {
        link.kind == "veth" && link.peerNamespace != nil && link.peerIndex != 0
    }

    /// The interfaces whose pods are to be asked about, each once for each reason.
    package mutating func takeUnasked() -> [UInt32] {
        defer { unasked = [] }
        return unasked.sorted()
    }

    /// Has the pods of some namespaces asked about, or all of them.
    package mutating func isChanged(inside namespaces: Set<Int32>?) {
        for (index, entry) in entries where isAskable(entry.link) {
            guard let namespace = entry.link.peerNamespace,
                namespaces?.contains(namespace) ?? true
            else { continue }
            unasked.insert(index)
        }
    }

    /// All interfaces whose pods can be asked about.
    package var askable: [UInt32] {
        entries.values.map(\.link).filter(isAskable).map(\.index).sorted()
    }

    /// Takes what a pod's namespace has said: nil if it could not be asked.
    package mutating func set(_ pod: Pod?, behind index: UInt32) {
        entries[index]?.pod = pod
    }

    /// Takes what pods are called, by the incarnations of their edges.
    package mutating func set(_ names: [UInt64: PodName]) {
        guard !names.isEmpty else { return }
        for (index, entry) in entries {
            if let name = names[entry.incarnation] { entries[index]?.name = name }
        }
    }

    /// The node as it is known now, with the edges that are to be captured.
    package func node(_ selection: EdgeSelection) -> Node {
        let uplinks = Set(routes.filter(\.isDefault).compactMap(\.interfaceIndex))
        let veths = entries.values.filter { $0.link.kind == "veth" }
            .sorted { $0.link.index < $1.link.index }
        let candidates = veths.map { entry in
            var standing = Veth.EdgeStatus(of: entry.link, uplinks: uplinks)
            let pod = standing == .edge ? entry.pod : nil
            if standing == .edge {
                standing = Veth.EdgeStatus(
                    selection.verdict(name: entry.link.name, addresses: pod?.addresses))
            }
            return Veth(
                incarnation: entry.incarnation, link: entry.link, standing: standing,
                podAddresses: pod?.addresses, podMAC: pod?.mac, pod: entry.name)
        }
        return Node(
            candidates: candidates, links: entries.mapValues(\.link), addresses: addresses,
            routes: routes, blindness: blindness)
    }
}
