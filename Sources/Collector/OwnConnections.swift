import Addressing
package import BPF
package import Linux

/// The ends of a collector's own connections, which no agent is to capture.
///
/// An agent that captures at the interface by which its packets leave would send each of them once
/// more. podwire's agents leave their feed out by themselves; other daemons do if the filter says
/// so. A connection is known by its end on this host: no other program has the same address and
/// port, and nobody who translates the agent's address changes it.
package final class OwnConnections {
    private var ends: [Int: [SocketAddress]] = [:]
    private let receivesDatagrams: Bool
    /// A number that changes with the ends.
    package private(set) var version = 0

    /// The most ports in one filter, so that it stays short enough for the kernel (4,096).
    package static let portCountMax = 256
    /// The most addresses in one filter; a collector's host has few.
    static let addressCountMax = 16

    package init(receivesDatagrams: Bool) {
        self.receivesDatagrams = receivesDatagrams
    }

    /// Sets the ends of a link's connections on this host.
    package func set(_ addresses: [SocketAddress], of link: Int) {
        guard ends[link] != addresses else { return }
        ends[link] = addresses
        version += 1
    }

    /// Forgets a link.
    package func remove(_ link: Int) {
        if ends.removeValue(forKey: link) != nil { version += 1 }
    }

    /// Returns a filter that drops the packets of all these connections, and is `program` otherwise.
    ///
    /// - Parameters:
    ///   - link: The link whose connections come first, should there be too many.
    ///   - linkType: The form of the packets, as a number of capture files.
    ///   - program: The filter of all other packets.
    /// - Returns: Nil if no filter can tell these packets, or it would be too long.
    package func filter(of link: Int, _ linkType: UInt16, otherwise program: Program) -> Program? {
        guard let form = LinkForm(linkType: linkType) else { return nil }
        var ports: [IPAddress: Set<UInt16>] = [:]
        var portCount = 0
        let others = ends.keys.sorted(by: >).filter { $0 != link }
        for end in ([link] + others).flatMap({ ends[$0] ?? [] }) {
            guard portCount < Self.portCountMax,
                ports[end.address] != nil || ports.count < Self.addressCountMax
            else { break }
            if ports[end.address, default: []].insert(end.port).inserted { portCount += 1 }
        }
        guard portCount > 0 else { return program }
        let writer = OwnConnectionsWriter(form, ports, dropsFragments: receivesDatagrams)
        let filter = writer.program(otherwise: program)
        return filter.instructions.count <= Program.instructionCountMax ? filter : nil
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
