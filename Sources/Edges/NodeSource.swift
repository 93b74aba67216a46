import Addressing
import Glibc
package import Linux
package import Netlink
package import Taps
import Time

/// A query about the node's network.
package enum NodeQuery: Hashable, Sendable {
    /// The node's own addresses and routes.
    case own
    /// The pod behind an interface.
    case pod(behind: UInt32)
    /// The counters of all pairs' ends.
    case counters
    /// The interfaces without a host end in some namespaces.
    case podInterfaces([NamespaceFile])
}

/// The kernel's reply to a query.
package enum NodeReply: Sendable {
    /// The node's own addresses and routes.
    case own([InterfaceAddress], [Route])
    /// The pod behind an interface; nil if there is none, or it has just gone.
    case pod(behind: UInt32, EdgeTable.Pod?)
    /// The counters of all pairs' ends.
    case counters([PairCounters])
    /// The counters cannot be read.
    case countersFailed(SystemError)
    /// The interfaces without a host end, and the namespaces that were asked about.
    case podInterfaces([PodInterface], in: Set<FileIdentity>)
    /// The process may not ask about pods.
    case denied(SystemError)
}

/// A netlink socket for queries about the node's network.
struct NodeSource: ~Copyable {
    private var socket: NetlinkSocket

    init() throws(SystemError) {
        socket = try NetlinkSocket()
    }

    /// Reads everything, which takes some milliseconds, and 0.1 for each pod.
    ///
    /// - Returns: False if a bridge knows so much that some of its ports were left out.
    @discardableResult
    mutating func readAll(into table: inout EdgeTable) throws(SystemError) -> Bool {
        table.reset(links: try links())
        let queries = [NodeQuery.own] + table.queryableIndexes.map { NodeQuery.pod(behind: $0) }
        for query in queries { table.apply(try reply(to: query)) }
        _ = table.takePendingRefreshes()
        let listing = BridgeListing(
            of: table.bridgePorts, changeCount: table.forwardingChangeCount,
            until: MonotonicTime.now + BridgeListing.startDurationMax)
        table.apply(listing)
        return listing.leftOutCount == 0
    }

    /// Lists all interfaces.
    mutating func links() throws(SystemError) -> [Link] { try socket.links() }

    /// Asks the kernel and waits for its reply.
    ///
    /// That can take a tenth of a second while the kernel takes other pods' interfaces down.
    mutating func reply(to query: NodeQuery) throws(SystemError) -> NodeReply {
        switch query {
        case .own: return .own(try socket.addresses(), try socket.routes())
        case .counters:
            do throws(SystemError) {
                return .counters(try PairCounters.read(by: &socket))
            } catch {
                return .countersFailed(error)
            }
        case .podInterfaces(let files):
            let reply = try Self.podInterfaces(in: files, by: &socket)
            return .podInterfaces(reply.found, in: reply.asked)
        case .pod(let index):
            do throws(SystemError) {
                return .pod(behind: index, try pod(behind: index))
            } catch {
                if error.errno == .notPermitted || error.errno == .permissionDenied {
                    return .denied(error)
                }
                // A pod that has just gone is no failure.
                guard
                    [.invalidArgument, .noSuchDevice, .noSuchFileOrDirectory].contains(error.errno)
                else { throw error }
                return .pod(behind: index, nil)
            }
        }
    }

    /// Namespace ids are reused at once, so each query reads the id first.
    private mutating func pod(behind index: UInt32) throws(SystemError) -> EdgeTable.Pod? {
        guard let link = try socket.link(index), let namespace = link.peerNamespace,
            let peer = link.peerIndex, peer != 0
        else { return nil }
        let addresses = try socket.addresses(inNamespace: namespace)
        let links = try socket.links(inNamespace: namespace)
        var pod = EdgeTable.Pod(behind: peer, addresses, links)
        for address in pod.addresses + pod.otherAddresses where address.isRoutable {
            pod.record(try socket.route(to: address), to: address, through: link)
        }
        return pod
    }
}
