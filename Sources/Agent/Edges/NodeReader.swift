import Frames
import Glibc
import Kernel
import Netlink

/// Asks the kernel about the node's network, and puts the answers into a table.
struct NodeReader: ~Copyable {
    private var socket: NetlinkSocket
    var table = EdgeTable()

    init() throws(SystemError) {
        socket = try NetlinkSocket()
    }

    /// Looks at everything. Takes some milliseconds, and 0.1 for each pod.
    mutating func readAll() throws(SystemError) {
        table.reset(links: try socket.links())
        try readAddresses()
        try readPods(table.askable)
        _ = table.takeUnasked()
    }

    /// Looks at the node's own addresses and routes.
    mutating func readAddresses() throws(SystemError) {
        table.reset(addresses: try socket.addresses(), routes: try socket.routes())
    }

    /// Asks about the pods behind some interfaces.
    mutating func readPods(_ indexes: [UInt32]) throws(SystemError) {
        for index in indexes {
            do throws(SystemError) {
                table.set(try pod(behind: index), behind: index)
            } catch {
                // A pod that has gone in the meantime is no reason to complain.
                table.set(nil, behind: index)
                if error.code == EPERM || error.code == EACCES { table.setBlindness(error) }
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
