import Addressing

/// Networks that are near each other, as one.
enum NetworkGroup {
    /// The smallest network that contains all of some; nil for none, or if they are of two families.
    static func common(_ networks: [IPNetwork]) -> IPNetwork? {
        guard let first = networks.first, networks.allSatisfy({ $0.family == first.family }) else {
            return nil
        }
        let longest = networks.map(\.prefixBitCount).min() ?? 0
        return (0...longest).reversed().lazy.map {
            IPNetwork(first.address, prefixBitCount: $0)
        }.first { candidate in networks.allSatisfy { candidate.contains($0.address) } }
    }

    /// Puts networks that share their first bits together.
    ///
    /// - Parameters:
    ///   - networks: The networks, of one family.
    ///   - bitCount: The fewest bits that the networks of a group share.
    ///   - taken: Networks that belong to others: no group reaches into them.
    /// - Returns: The groups, in order, of which none contains another one's network.
    static func groups(
        _ networks: [IPNetwork], sharing bitCount: Int, besides taken: [IPNetwork]
    ) -> [[IPNetwork]] {
        var groups: [[IPNetwork]] = []
        for network in Set(networks).sorted(by: { $0.address < $1.address }) {
            if let last = groups.last, let common = common(last + [network]),
                common.prefixBitCount >= bitCount, !taken.contains(where: common.overlaps)
            {
                groups[groups.count - 1].append(network)
            } else {
                groups.append([network])
            }
        }
        return groups
    }
}
