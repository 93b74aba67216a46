package import Addressing

/// Which edges are captured, as a person has set it.
package struct EdgeSelection: Equatable, Sendable {
    package let scope: Scope
    package let podNetworks: [IPNetwork]
    /// Names, in which `*` stands for any text and `?` for any character. What is excluded is out;
    /// what is included is in, whatever its addresses are.
    package let included: [String]
    package let excluded: [String]

    package enum Scope: String, Sendable {
        /// Those whose pods have an address in a pod network, or none that could be known.
        case pods
        case all
    }

    /// What the selection says of an edge.
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

    /// Whether an edge is captured, or why not. A pod that is being made has no address yet, so only
    /// one that has others than those of pods is left out.
    package func verdict(name: String, addresses: [IPAddress]?) -> Verdict {
        if excluded.contains(where: { Self.matches(name, $0) }) { return .excluded }
        if included.contains(where: { Self.matches(name, $0) }) { return .captured }
        guard scope == .pods, !podNetworks.isEmpty else { return .captured }
        let known = (addresses ?? []).filter { !$0.isLinkLocalIPv6 }
        let isPod = known.contains { address in podNetworks.contains { $0.contains(address) } }
        return known.isEmpty || isPod ? .captured : .outsidePodNetworks
    }

    /// A pattern, if it can stand for a name: names have 15 bytes at most, and no slash or space
    /// (`dev_valid_name` of the kernel).
    package static func pattern(_ text: String) -> String? {
        let others = text.utf8.filter { $0 != UInt8(ascii: "*") }
        let isPossible = others.allSatisfy { byte in
            byte > 0x20 && byte < 0x7f && !"/[]{}\\:".utf8.contains(byte)
        }
        return isPossible && others.count <= 15 && !text.isEmpty ? text : nil
    }

    /// Whether a name is all of what a pattern stands for.
    package static func matches(_ name: String, _ pattern: String) -> Bool {
        let (name, pattern) = (Array(name.utf8), Array(pattern.utf8))
        var (position, offset) = (0, 0)
        // Where the last star was, and up to where it has taken the name.
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
