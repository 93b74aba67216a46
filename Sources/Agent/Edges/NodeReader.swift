import Addressing
import Glibc
import Linux
import Netlink

/// Something to ask the kernel about the node's network.
enum NodeQuestion: Hashable, Sendable {
    /// The node's own addresses and routes.
    case own
    /// The pod behind an interface.
    case pod(behind: UInt32)
}

/// What it has said.
enum NodeAnswer: Sendable {
    case own([InterfaceAddress], [Route])
    /// Nil if there is none, or it cannot be asked.
    case pod(behind: UInt32, EdgeTable.Pod?)
    /// Pods cannot be asked about at all.
    case blind(SystemError)
}

/// Asks the kernel about the node's network.
struct NodeReader: ~Copyable {
    private var socket: NetlinkSocket

    init() throws(SystemError) {
        socket = try NetlinkSocket()
    }

    /// Looks at everything. Takes some milliseconds, and 0.1 for each pod.
    mutating func readAll(into table: inout EdgeTable) throws(SystemError) {
        table.reset(links: try links())
        let questions = [.own] + table.askable.map { NodeQuestion.pod(behind: $0) }
        for question in questions { table.apply(try answer(question)) }
        _ = table.takeUnasked()
    }

    mutating func links() throws(SystemError) -> [Link] { try socket.links() }

    /// Finds an answer. While the kernel takes other pods' interfaces down it can take a tenth of a
    /// second.
    mutating func answer(_ question: NodeQuestion) throws(SystemError) -> NodeAnswer {
        switch question {
        case .own: return .own(try socket.addresses(), try socket.routes())
        case .pod(let index):
            do throws(SystemError) {
                return .pod(behind: index, try pod(behind: index))
            } catch {
                if error.errno == .notPermitted || error.errno == .permissionDenied {
                    return .blind(error)
                }
                // A pod that has gone in the meantime is no reason to complain.
                guard
                    [.invalidArgument, .noSuchDevice, .noSuchFileOrDirectory].contains(error.errno)
                else { throw error }
                return .pod(behind: index, nil)
            }
        }
    }

    /// Namespace ids are reused at once, so which one is meant is read anew before each question.
    private mutating func pod(behind index: UInt32) throws(SystemError) -> EdgeTable.Pod? {
        guard let link = try socket.link(index), let namespace = link.peerNamespace,
            let peer = link.peerIndex, peer != 0
        else { return nil }
        let addresses = try socket.addresses(ofInterface: peer, inNamespace: namespace)
        let mac = try socket.links(inNamespace: namespace).first { $0.index == peer }?.mac
        return EdgeTable.Pod(addresses: addresses.map(\.address), mac: mac)
    }
}
