package import Addressing

/// The MAC addresses that are known on this node's bridges, and where each lives.
///
/// A pod may have more addresses than that of its `eth0`: those of guests behind a bridge in the pod,
/// of macvlans, of virtual routers. They are known from the pod's namespace, and from what the
/// node's bridge has learned behind the pod's port.
package struct MACTable: Equatable, Sendable {
    /// A place where a MAC address lives.
    package enum Place: Hashable, Sendable {
        /// Behind an edge of this node, by the index of the interface.
        case edge(UInt32)
        /// At the node itself, or behind a port that is no edge.
        case elsewhere
    }

    private struct Key: Hashable, Sendable {
        let bridge: UInt32
        let mac: MACAddress
    }

    private var places: [Key: Place] = [:]
    /// The edges behind which more addresses live than are kept.
    ///
    /// A frame to an unknown address counts as theirs: it is reported rather than lost.
    private var crowdedEdges: Set<UInt32>

    /// Creates a table without addresses.
    package init(crowdedEdges: Set<UInt32> = []) { self.crowdedEdges = crowdedEdges }

    /// The number of addresses.
    package var count: Int { places.count }

    /// Adds an address on a bridge, unless it is known there already.
    package mutating func add(_ mac: MACAddress, on bridge: UInt32, at place: Place) {
        let key = Key(bridge: bridge, mac: mac)
        if places[key] == nil { places[key] = place }
    }

    /// Returns where an address lives on a bridge; nil if that is not known.
    package func place(of mac: MACAddress, on bridge: UInt32) -> Place? {
        places[Key(bridge: bridge, mac: mac)]
    }

    /// Whether an address does not live behind an edge of a bridge, as far as is known.
    func isElsewhere(_ mac: MACAddress, on bridge: UInt32) -> Bool {
        switch place(of: mac, on: bridge) {
        case .edge: false
        case .elsewhere, nil: true
        }
    }

    /// Whether more addresses live behind an edge than are kept.
    package func isCrowded(_ interfaceIndex: UInt32) -> Bool {
        crowdedEdges.contains(interfaceIndex)
    }

    /// Returns the addresses that live behind each edge, in order.
    package func addressesByEdge() -> [UInt32: [MACAddress]] {
        var addresses: [UInt32: [MACAddress]] = [:]
        for (key, place) in places {
            if case .edge(let index) = place { addresses[index, default: []].append(key.mac) }
        }
        return addresses.mapValues { $0.sorted { $0.value < $1.value } }
    }
}
