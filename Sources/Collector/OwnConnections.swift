package import Addressing
package import BPF
package import Linux

/// The ends of a collector's own connections, which no agent is to capture.
///
/// An agent that captures at the interface by which its packets leave would send each of them once
/// more. podwire's agents leave their feed out by themselves; other daemons do if the filter says
/// so. A connection is known by its end on this host: no other program has the same address and
/// port, and nobody who translates the agent's address changes it.
package final class OwnConnections {
    private var links: [Int: Link] = [:]
    private let receivesDatagrams: Bool
    /// A number that rises with each new end.
    package private(set) var version = 0
    /// The versions in which hosts got their last connections.
    private var versions: [IPAddress: Int] = [:]
    /// The ends of the connections by which packets go out again, and the version of the last change.
    ///
    /// Ends at a loopback address are seen by agents of this host alone.
    private var outputs = Outgoing(ends: [], version: 0)
    private var localOutputs = Outgoing(ends: [], version: 0)

    private struct Outgoing {
        var ends: [SocketAddress]
        var version: Int
    }

    private struct Link {
        var ends: [SocketAddress]
        /// The agent's host.
        let host: IPAddress
    }

    /// A filter, or why there is none.
    package enum Exclusion {
        case filter(Program)
        /// Packets of this link type cannot be told apart.
        case unknownForm
        case tooLong
    }

    /// The most ports in one filter, so that it stays short enough for the kernel (4,096).
    package static let portCountMax = 256
    /// The most addresses in one filter; a collector's host has few.
    static let addressCountMax = 16

    package init(receivesDatagrams: Bool) {
        self.receivesDatagrams = receivesDatagrams
    }

    /// Sets the ends on this host of the connections of a link with an agent's host.
    package func set(_ addresses: [SocketAddress], of link: Int, at host: IPAddress) {
        guard links[link]?.ends != addresses else { return }
        links[link] = Link(ends: addresses, host: host)
        version += 1
        versions[host] = version
    }

    /// Sets the ends of the connections by which packets leave the collector again.
    ///
    /// Any agent may capture them, podwire's as well: it knows its own feed only.
    package func setOutputs(_ ends: Set<SocketAddress>) {
        // Filters are equal if ends are in the same order.
        let sorted = ends.sorted { "\($0)" < "\($1)" }
        let (local, far) = (
            sorted.filter(\.address.isLoopback), sorted.filter { !$0.address.isLoopback }
        )
        guard far != outputs.ends || local != localOutputs.ends else { return }
        version += 1
        if far != outputs.ends { outputs = Outgoing(ends: far, version: version) }
        if local != localOutputs.ends { localOutputs = Outgoing(ends: local, version: version) }
    }

    /// Forgets a link.
    ///
    /// A filter that still drops its connections does no harm.
    package func remove(_ link: Int) {
        guard let host = links.removeValue(forKey: link)?.host else { return }
        if !links.values.contains(where: { $0.host == host }) { versions[host] = nil }
    }

    /// The version in which a host got its last connection, or another one that it may capture.
    package func version(of host: IPAddress) -> Int {
        max(versions[host] ?? 0, outputVersion(of: host))
    }

    /// The version in which an output got its last connection that a host may capture; 0 for none.
    package func outputVersion(of host: IPAddress) -> Int {
        host.isLoopback ? max(outputs.version, localOutputs.version) : outputs.version
    }

    /// Returns a filter that drops the packets of all these connections, and is `program` otherwise.
    ///
    /// If that is too long, it drops those of the link.
    ///
    /// - Parameters:
    ///   - link: The link whose connections come first, should there be too many.
    ///   - linkType: The form of the packets, as a number of capture files.
    ///   - program: The filter of all other packets.
    /// - Returns: The filter, or why there is none.
    package func filter(
        of link: Int, _ linkType: UInt16, otherwise program: Program
    ) -> Exclusion {
        guard let form = LinkForm(linkType: linkType) else { return .unknownForm }
        let others = links.keys.sorted(by: >).filter { $0 != link }
        let outgoing = outputs.ends + (isLocal(link) ? localOutputs.ends : [])
        for chosen in [[link] + others, [link]] {
            let ends = ends(of: [link]) + outgoing + ends(of: chosen.dropFirst())
            let filter = filter(of: ends, form, otherwise: program)
            if filter.instructions.count <= Program.instructionCountMax { return .filter(filter) }
        }
        return .tooLong
    }

    private func isLocal(_ link: Int) -> Bool { links[link]?.host.isLoopback ?? false }

    private func ends(of links: some Sequence<Int>) -> [SocketAddress] {
        links.flatMap { self.links[$0]?.ends ?? [] }
    }

    private func filter(
        of ends: [SocketAddress], _ form: LinkForm, otherwise program: Program
    ) -> Program {
        var ports: [IPAddress: Set<UInt16>] = [:]
        var portCount = 0
        for end in ends {
            guard portCount < Self.portCountMax,
                ports[end.address] != nil || ports.count < Self.addressCountMax
            else { break }
            if ports[end.address, default: []].insert(end.port).inserted { portCount += 1 }
        }
        guard portCount > 0 else { return program }
        return OwnConnectionsWriter(form, ports, dropsFragments: receivesDatagrams)
            .program(otherwise: program)
    }
}

/// The places of headers in the frames of a link type.
struct LinkForm: Equatable {
    /// The way in which a frame says which protocol it carries.
    enum Kind: Equatable {
        /// An EtherType at an offset.
        case etherType(at: UInt32)
        /// The version in the IP header.
        case version
        case ipv4
        case ipv6
    }

    let kind: Kind
    /// The length of the link's header.
    let byteCount: UInt32
    /// Whether VLAN tags may stand before the EtherType.
    let hasTags: Bool
    /// The part of the header that counts in a packet's length while the kernel filters.
    ///
    /// It filters packets of `any` before their header has been made.
    let countedByteCount: UInt32

    /// Returns the form for a number of capture files (pcap-linktype(7)); nil for other forms.
    init?(linkType: UInt16) {
        switch linkType {
        case 1: self.init(.etherType(at: 12), 14, hasTags: true)
        case 113: self.init(.etherType(at: 14), 16, countedByteCount: 0)
        case 276: self.init(.etherType(at: 0), 20, countedByteCount: 0)
        case 101: self.init(.version, 0)
        case 228: self.init(.ipv4, 0)
        case 229: self.init(.ipv6, 0)
        default: return nil
        }
    }

    private init(
        _ kind: Kind, _ byteCount: UInt32, hasTags: Bool = false, countedByteCount: UInt32? = nil
    ) {
        (self.kind, self.byteCount, self.hasTags) = (kind, byteCount, hasTags)
        self.countedByteCount = countedByteCount ?? byteCount
    }
}
