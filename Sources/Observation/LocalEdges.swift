package import Addressing

/// The pods' addresses at the edges that a capture reads, for requests whose two edges are both here.
package struct LocalEdges: Sendable {
    private let edgeOf: [IPAddress: UInt32]
    /// The same, for a quick look.
    private let table: AddressTable
    /// The edges of which at least one address of the family is known.
    private let edgesWithIPv4: Set<UInt32>
    private let edgesWithIPv6: Set<UInt32>

    /// The edges with these indexes, and their pods' addresses as far as they are known.
    package init(_ edges: [(interfaceIndex: UInt32, addresses: [IPAddress])] = []) {
        var edgeOf: [IPAddress: UInt32] = [:]
        var ambiguous: Set<IPAddress> = []
        for edge in edges {
            for address in edge.addresses {
                let other = edgeOf.updateValue(edge.interfaceIndex, forKey: address)
                // Pods on different links may have the same link-local address.
                if other != nil, address.isLinkLocalIPv6 { ambiguous.insert(address) }
            }
        }
        for address in ambiguous { edgeOf[address] = nil }
        self.edgeOf = edgeOf
        table = AddressTable(edgeOf)
        // A link-local address says nothing about the others.
        let known = edgeOf.filter { !$0.key.isLinkLocalIPv6 }
        edgesWithIPv4 = Set(known.filter { $0.key.family == .ipv4 }.values)
        edgesWithIPv6 = Set(known.filter { $0.key.family == .ipv6 }.values)
    }

    /// Whether the edge of an address is one of them.
    package func contains(_ address: IPAddress) -> Bool { table[address] != nil }

    /// Whether an address is known to belong to another edge than this one.
    package func isElsewhere(_ address: IPAddress, thanEdge index: UInt32) -> Bool {
        table[address].map { $0 != index } ?? false
    }

    /// Whether the pod at an edge is known to have other addresses than this one.
    ///
    /// The answer to a packet with a forged source goes elsewhere.
    package func isForeign(_ source: IPAddress, atEdge index: UInt32) -> Bool {
        if let owner = table[source] { return owner != index }
        if source.isLinkLocalIPv6 { return false }
        return switch source.family {
        case .ipv4: edgesWithIPv4.contains(index)
        case .ipv6: edgesWithIPv6.contains(index)
        }
    }
}

extension LocalEdges: Equatable {
    package static func == (left: Self, right: Self) -> Bool { left.edgeOf == right.edgeOf }
}
