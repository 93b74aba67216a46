import Addressing
import Linux
import Netlink
import Taps

/// An interface inside a pod that has no end in the node's namespace, such as a macvlan.
///
/// It is known by its namespace and its index there. It is an edge of its own beside the pod's pair, and
/// is captured inside the pod.
package struct PodInterface: Equatable, Sendable {
    /// The file of the pod's network namespace.
    let file: NamespaceFile
    /// The id under which the node's namespace knows the pod's.
    let namespaceID: Int32
    /// The interface, as it is described inside the pod.
    let link: Link
    /// The index of the node's interface that it is made on; nil for hardware and for what is on none.
    let parent: UInt32?
    /// The addresses of the interface.
    let pod: EdgeTable.Pod

    /// What tells interfaces apart.
    struct Key: Hashable, Sendable {
        let namespace: FileIdentity
        let index: UInt32
    }

    var key: Key { Key(namespace: file.identity, index: link.index) }

    /// The place of the interface, for a socket there.
    var tap: PodTap {
        PodTap(
            file: file, namespaceID: namespaceID, podIndex: link.index, hasHostEnd: false)
    }

    /// The interface as if it were one of the node's, with an index that none of the node's has.
    ///
    /// All interfaces on one parent are in its layer-2 domain, as the ports of a bridge are in the
    /// bridge's.
    func nodeLink(index: UInt32) -> Link {
        var link = Link(index: index)
        link.name = "\(self.link.name)@\(file.name)"
        (link.kind, link.isUp) = (self.link.kind, self.link.isUp)
        link.master = parent
        (link.peerIndex, link.peerNamespace) = (self.link.index, namespaceID)
        (link.gsoByteCountMax, link.groByteCountMax) = (
            self.link.gsoByteCountMax, self.link.groByteCountMax
        )
        return link
    }

    /// The first index of interfaces without a host end.
    ///
    /// The kernel counts up from 1 and would need 1,900 million interfaces to come here.
    static let indexMin: UInt32 = 0x7100_0000
    /// The most interfaces of a node: as many as files are looked at.
    static let countMax = NamespaceFolder.fileCountMax

    /// Whether a link inside a pod is an interface of this kind.
    ///
    /// Hardware is: a virtual function. What is made on another interface is if that is in another
    /// namespace; otherwise its packets pass the other one in the pod as well. A pair's end has its
    /// other end somewhere, and a bridge or a tunnel carries what passes elsewhere.
    static func isOne(_ link: Link) -> Bool {
        guard !link.isLoopback, !link.isPairEnd, link.master == nil, link.mac?.ofInterface != nil
        else { return false }
        return link.kind.isEmpty || (link.peerIndex ?? 0) != 0 && link.peerNamespace != nil
    }
}

extension NodeSource {
    /// Lists the interfaces without a host end in some namespaces.
    ///
    /// Takes about 0.2 ms for each namespace. Needs CAP_NET_ADMIN. A namespace that goes meanwhile has none.
    ///
    /// - Returns: The interfaces, and the namespaces whose files could be opened or are gone.
    static func podInterfaces(
        in files: [NamespaceFile], by socket: inout NetlinkSocket
    ) throws(SystemError) -> (found: [PodInterface], asked: Set<FileIdentity>) {
        let ownID = try socket.namespaceID(of: Descriptor(reading: "/proc/thread-self/ns/net"))
        var found: [PodInterface] = []
        var asked = Set(files.map(\.identity))
        for file in files where found.count < PodInterface.countMax {
            // While the file is open its id belongs to no other namespace.
            let namespace: Descriptor
            do throws(SystemError) {
                namespace = try file.open()
            } catch {
                if !file.isGone(error) { asked.remove(file.identity) }
                continue
            }
            guard let id = try socket.namespaceID(of: namespace) else { continue }
            let links = try socket.links(inNamespace: id).filter(PodInterface.isOne)
            guard !links.isEmpty else { continue }
            let addresses = try socket.addresses(inNamespace: id)
            found += links.map { link in
                PodInterface(
                    file: file, namespaceID: id, link: link,
                    parent: ownID != nil && link.peerNamespace == ownID ? link.peerIndex : nil,
                    pod: EdgeTable.Pod(
                        addresses: addresses.filter { $0.interfaceIndex == link.index }
                            .map(\.address),
                        mac: link.mac, gsoByteCountMax: link.gsoByteCountMax))
            }
        }
        return (Array(found.prefix(PodInterface.countMax)), asked)
    }
}

/// Interfaces without a host end, in the table of edges.
extension EdgeTable {
    /// Replaces the interfaces without a host end by those that exist now.
    ///
    /// - Parameters:
    ///   - podInterfaces: The interfaces that were found.
    ///   - asked: The namespaces that were asked about; those in others stay as they are.
    mutating func reset(podInterfaces: [PodInterface], in asked: Set<FileIdentity>) {
        // A reply may come later than the news that a namespace has no file any more.
        let identities = namespaces.map { Set($0.files.values.map(\.identity)) }
        let podInterfaces = podInterfaces.filter {
            identities?.contains($0.file.identity) ?? true
        }
        let present = Dictionary(podInterfaces.map { ($0.key, $0) }) { first, _ in first }
        var known: Set<PodInterface.Key> = []
        for (index, entry) in entries {
            guard let key = entry.podInterface?.key else { continue }
            known.insert(key)
            if let interface = present[key] {
                set(interface, at: index)
            } else if asked.contains(key.namespace) {
                entries[index] = nil
            }
        }
        // The order makes indexes the same from run to run.
        for interface in podInterfaces where known.insert(interface.key).inserted {
            add(interface)
        }
    }

    /// Ends the interfaces whose namespaces have no file any more.
    mutating func removePodInterfaces(outside listing: NamespaceListing) {
        let identities = Set((Array(listing.files.values) + listing.unnumbered).map(\.identity))
        for (index, entry) in entries {
            if let file = entry.podInterface?.file, !identities.contains(file.identity),
                !listing.unknownPaths.contains(file.path)
            {
                entries[index] = nil
            }
        }
    }

    /// The files of namespaces whose interfaces without a host end are to be listed.
    var podInterfaceFiles: [NamespaceFile] {
        guard tapPlan.includesPodInterfaces, let namespaces else { return [] }
        return namespaces.files.values.sorted { $0.path < $1.path }
    }

    private mutating func add(_ interface: PodInterface) {
        var index = PodInterface.indexMin
        while entries[index] != nil { index += 1 }
        entries[index] = Entry(
            incarnation: Self.nextIncarnation(), link: interface.nodeLink(index: index))
        set(interface, at: index)
    }

    private mutating func set(_ interface: PodInterface, at index: UInt32) {
        entries[index]?.link = interface.nodeLink(index: index)
        entries[index]?.pod = interface.pod
        entries[index]?.file = interface.file
        entries[index]?.podInterface = interface
    }
}
