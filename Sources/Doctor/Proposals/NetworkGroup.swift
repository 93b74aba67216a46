import Addressing

/// Networks that are near each other, as one.
struct NetworkGroup {
    /// The networks.
    private(set) var members: [IPNetwork]
    /// The smallest network that contains all of them.
    private(set) var common: IPNetwork

    private init(_ network: IPNetwork) { (members, common) = ([network], network) }

    /// The smallest network that contains two of one family.
    static func common(_ one: IPNetwork, _ other: IPNetwork) -> IPNetwork {
        let longest = min(one.prefixBitCount, other.prefixBitCount)
        let fitting = (0...longest).last { bitCount in
            IPNetwork(one.address, prefixBitCount: bitCount).contains(other.address)
        }
        return IPNetwork(one.address, prefixBitCount: fitting ?? 0)
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
    ) -> [NetworkGroup] {
        var groups: [NetworkGroup] = []
        for network in Set(networks).sorted(by: { $0.address < $1.address }) {
            if let last = groups.last {
                let common = common(last.common, network)
                if common.prefixBitCount >= bitCount, !taken.contains(where: common.overlaps) {
                    groups[groups.count - 1].members.append(network)
                    groups[groups.count - 1].common = common
                    continue
                }
            }
            groups.append(NetworkGroup(network))
        }
        return groups
    }
}
