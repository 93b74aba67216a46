package import Addressing

/// The address that a peer comes from, and the network that it shares bounds with.
///
/// The hosts of a link share a /64, so an address alone is what is known or barred. One host can take
/// any address of it, so the /64 has bounds, too.
package struct PeerSource: Hashable, Sendable {
    package let address: IPAddress
    /// The address itself, or the /64 of an IPv6 address.
    package let network: IPNetwork

    /// The source that an address stands for.
    package init(_ address: IPAddress) {
        self.address = address
        network = IPNetwork(address, prefixBitCount: address.family == .ipv4 ? 32 : 64)
    }

    /// The one of some others that makes room for this source, by its index.
    ///
    /// The network with most of them gives one up, there the address with most, and there the first
    /// one goes. It belongs to a network that has more than this source's does, or to an address of
    /// the same network that has more than this one; by how many is the caller's choice.
    ///
    /// - Parameters:
    ///   - others: The sources of all, the oldest first.
    ///   - mayGo: Whether the one of an index can go.
    ///   - excess: How many more; 0 for as many, and 2 if there have to be more also afterwards.
    /// - Returns: Nil if none goes.
    package func rival(
        among others: [PeerSource], mayGo: (Int) -> Bool = { _ in true }, excess: Int = 0
    ) -> Int? {
        var byNetwork: [IPNetwork: Int] = [:]
        var byAddress: [IPAddress: Int] = [:]
        for other in others {
            byNetwork[other.network, default: 0] += 1
            byAddress[other.address, default: 0] += 1
        }
        let own = (byNetwork[network] ?? 0, byAddress[address] ?? 0)
        var best: (index: Int, counts: (Int, Int))?
        for (index, other) in others.enumerated() where mayGo(index) {
            let counts = (byNetwork[other.network] ?? 0, byAddress[other.address] ?? 0)
            let surplus = other.network == network ? counts.1 - own.1 : counts.0 - own.0
            guard surplus >= excess else { continue }
            if best == nil || counts > best?.counts ?? (0, 0) { best = (index, counts) }
        }
        return best?.index
    }
}
