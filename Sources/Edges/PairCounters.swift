package import Linux
package import Netlink

/// The packet counters of both ends of an edge's device pair.
package struct PairCounters: Sendable {
    /// The host's end.
    package let link: Link
    /// The counters of the pod's end.
    package let pod: LinkCounters
    /// The counters of the host's end.
    package let host: LinkCounters

    /// Counters with known values.
    package init(_ link: Link, pod: LinkCounters, host: LinkCounters) {
        (self.link, self.pod, self.host) = (link, pod, host)
    }

    /// The number of packets at the pod's end that should have passed the host's end as well.
    ///
    /// A netkit pair lacks what pods send there, and a veth pair what pods receive, if anything.
    package var carriedCount: UInt64 {
        link.isNetkit ? pod.sentPacketCount : pod.receivedPacketCount
    }

    /// The number of these packets that the host's end has not had.
    package var missedCount: UInt64 {
        let passed = link.isNetkit ? host.receivedPacketCount : host.sentPacketCount
        return carriedCount - min(carriedCount, passed)
    }

    /// Reads the counters of all pairs, which needs CAP_NET_ADMIN.
    ///
    /// The pods' are read first, so that they are not ahead of the host's.
    ///
    /// - Throws: `EACCES` without the capability, if there is any pair.
    package static func read() throws(SystemError) -> [PairCounters] {
        var socket = try NetlinkSocket()
        return try read(by: &socket)
    }

    static func read(by socket: inout NetlinkSocket) throws(SystemError) -> [PairCounters] {
        let before = try socket.links().filter(\.isPairEnd)
        var pods: [Int32: [UInt32: LinkCounters]] = [:]
        for id in Set(before.compactMap(\.peerNamespace)) {
            do throws(SystemError) {
                pods[id] = try socket.counters(inNamespace: id)
            } catch {
                // The namespace may have gone in the meantime; what is not permitted is so in all.
                guard ![.notPermitted, .permissionDenied].contains(error.errno) else { throw error }
            }
        }
        let host = try socket.counters()
        // Ids are reused at once, so an edge counts if it still leads to the same pod.
        let links = try socket.links()
        return before.compactMap { link in
            guard links.contains(where: { leadsToSamePod($0, link) }),
                let id = link.peerNamespace, let peer = link.peerIndex,
                let pod = pods[id]?[peer], let own = host[link.index]
            else { return nil }
            return PairCounters(link, pod: pod, host: own)
        }
    }

    private static func leadsToSamePod(_ one: Link, _ other: Link) -> Bool {
        one.index == other.index && one.peerNamespace == other.peerNamespace
            && one.peerIndex == other.peerIndex && one.mac == other.mac
    }
}
