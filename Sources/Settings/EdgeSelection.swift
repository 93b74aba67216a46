package import Addressing

/// The selection of edges to capture.
package struct EdgeSelection: Equatable, Sendable {
    package let scope: Scope
    package let podNetworks: [IPNetwork]
    /// Patterns of names: `*` stands for any text, `?` for any character.
    ///
    /// An excluded edge is out, also if it is included. An included edge is in, whatever addresses
    /// its pod has.
    package let included: [String]
    package let excluded: [String]

    /// Which veths are captured unless their names are included or excluded.
    package enum Scope: String, CaseIterable, Sendable {
        /// Edges whose pods have an address in a pod network, or no known address.
        case pods
        case all
    }

    /// Whether an edge is captured, or why not.
    package enum Verdict: Equatable, Sendable {
        case captured
        case excluded
        case outsidePodNetworks
    }

    package init(
        _ scope: Scope = .pods, podNetworks: [IPNetwork] = [], included: [String] = [],
        excluded: [String] = []
    ) {
        self.scope = scope
        self.podNetworks = podNetworks
        self.included = included
        self.excluded = excluded
    }

    /// The same with other pod networks.
    package func with(podNetworks: [IPNetwork]) -> Self {
        Self(scope, podNetworks: podNetworks, included: included, excluded: excluded)
    }

    /// Reads which edges are captured; without pod networks every pod's edge is.
    init(_ reader: SettingsReader) throws(SettingFailure) {
        self.init(
            try reader.one(.edges) { Scope(rawValue: $0) },
            podNetworks: try reader.list(.podNetworks) { IPNetwork($0) },
            included: try reader.list(.includedEdges, Self.pattern),
            excluded: try reader.list(.excludedEdges, Self.pattern))
    }

    /// Whether an edge is captured, or why not.
    ///
    /// A pod that is being made has no address yet. So an edge is left out only if its pod has
    /// addresses and none of them is in a pod network. The addresses are nil if they are not known.
    package func verdict(name: String, addresses: [IPAddress]?) -> Verdict {
        if excluded.contains(where: { Self.matches(name, $0) }) { return .excluded }
        if included.contains(where: { Self.matches(name, $0) }) { return .captured }
        guard scope == .pods, !podNetworks.isEmpty else { return .captured }
        let known = (addresses ?? []).filter { !$0.isLinkLocalIPv6 }
        let isPod = known.contains { address in podNetworks.contains { $0.contains(address) } }
        return known.isEmpty || isPod ? .captured : .outsidePodNetworks
    }

    /// Returns a pattern that can match an interface name, or nil for another text.
    ///
    /// A name has at most 15 bytes, and no slash or space (`dev_valid_name` of the kernel).
    static func pattern(_ text: String) -> String? {
        let others = text.utf8.filter { $0 != UInt8(ascii: "*") }
        let isPossible = others.allSatisfy { byte in
            byte > 0x20 && byte < 0x7f && !"/[]{}\\:".utf8.contains(byte)
        }
        return isPossible && others.count <= 15 && !text.isEmpty ? text : nil
    }

    /// Whether a pattern matches the whole of a name.
    package static func matches(_ name: String, _ pattern: String) -> Bool {
        let (name, pattern) = (Array(name.utf8), Array(pattern.utf8))
        var (position, offset) = (0, 0)
        // The offset of the last star, and the position in the name up to which it has matched.
        var star: (offset: Int, position: Int)?
        while position < name.count {
            if offset < pattern.count, pattern[offset] == UInt8(ascii: "*") {
                star = (offset, position)
                offset += 1
            } else if offset < pattern.count,
                pattern[offset] == UInt8(ascii: "?") || pattern[offset] == name[position]
            {
                (position, offset) = (position + 1, offset + 1)
            } else if let last = star {
                star = (last.offset, last.position + 1)
                (position, offset) = (last.position + 1, last.offset + 1)
            } else {
                return false
            }
        }
        return pattern[offset...].allSatisfy { $0 == UInt8(ascii: "*") }
    }
}
