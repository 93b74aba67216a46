import CMnl
import Glibc
package import Linux

/// Something that has changed about the node's network.
package enum NodeEvent: Equatable, Sendable {
    /// An interface is new, or something about it is.
    case link(Link)
    /// An interface is gone: deleted, or moved to another namespace.
    case linkGone(UInt32)
    /// An address of one of the node's own interfaces has come or gone.
    case address
    case route
    /// An id of another namespace has been given or taken. Ids are reused at once.
    case namespace
}

/// Tells of changes of interfaces, addresses, routes and namespace ids, in their order.
///
/// Subscribe first, then look at what there is: a change in between comes as an event, and one that
/// is known already does no harm. Needs no capability.
package struct NodeMonitor: ~Copyable {
    private var socket: NetlinkSocket
    /// Hears of addresses inside pods, where it may.
    private var pods: NetlinkSocket?
    /// For a poll set: readable when addresses inside pods have changed; -1 where nobody says so.
    package let podsFileDescriptor: CInt

    /// Room for the events of some 250 pods that are made in one burst.
    package static let bufferByteCount = 4 << 20

    package init(bufferByteCount: Int = Self.bufferByteCount) throws(SystemError) {
        var socket = try NetlinkSocket()
        try socket.setReceiveBuffer(byteCount: bufferByteCount)
        let groups: [(rtnetlink_groups, String)] = [
            (RTNLGRP_LINK, "RTNLGRP_LINK"), (RTNLGRP_IPV4_IFADDR, "RTNLGRP_IPV4_IFADDR"),
            (RTNLGRP_IPV6_IFADDR, "RTNLGRP_IPV6_IFADDR"),
            (RTNLGRP_IPV4_ROUTE, "RTNLGRP_IPV4_ROUTE"), (RTNLGRP_IPV6_ROUTE, "RTNLGRP_IPV6_ROUTE"),
            (RTNLGRP_NSID, "RTNLGRP_NSID"),
        ]
        for (group, name) in groups { try socket.join(Int(group.rawValue), name) }
        if let pods = try? Self.listenToPods() {
            podsFileDescriptor = pods.fileDescriptor
            self.pods = .some(pods)
        } else {
            podsFileDescriptor = -1
        }
        self.socket = socket
    }

    /// Needs CAP_NET_BROADCAST.
    private static func listenToPods() throws(SystemError) -> NetlinkSocket {
        var socket = try NetlinkSocket()
        try socket.listenToAllNamespaces()
        try socket.join(Int(RTNLGRP_IPV4_IFADDR.rawValue), "RTNLGRP_IPV4_IFADDR")
        try socket.join(Int(RTNLGRP_IPV6_IFADDR.rawValue), "RTNLGRP_IPV6_IFADDR")
        return socket
    }

    /// The ids of the namespaces in which addresses have changed. Nil if it is not known which.
    package mutating func takeChangedNamespaces() throws(SystemError) -> Set<Int32>? {
        try pods?.takeNamespaces() ?? nil
    }

    /// For a poll set: readable when there are events.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    /// Reads the events there are, without waiting. Answers false if some were lost: then look again
    /// at what there is.
    package mutating func read(_ body: (NodeEvent) -> Void) throws(SystemError) -> Bool {
        try socket.readEvents("the node's events", discardsAfterLoss: true) { message in
            if let event = NodeEvent(message) { body(event) }
        }
    }
}

extension NodeEvent {
    /// Nil for what says nothing about the node's network.
    init?(_ message: NetlinkMessage) {
        switch CInt(message.type) {
        case CInt(RTM_NEWLINK), CInt(RTM_DELLINK):
            // Of the family of bridges, a message is about a port, and its end is no device's end.
            guard let header = message.header(ifinfomsg.self), header.ifi_family != AF_BRIDGE,
                let link = Link(message)
            else { return nil }
            self = CInt(message.type) == CInt(RTM_DELLINK) ? .linkGone(link.index) : .link(link)
        case CInt(RTM_NEWADDR), CInt(RTM_DELADDR): self = .address
        case CInt(RTM_NEWROUTE), CInt(RTM_DELROUTE): self = .route
        case CInt(RTM_NEWNSID), CInt(RTM_DELNSID): self = .namespace
        default: return nil
        }
    }
}

extension NetlinkSocket {
    /// One interface of this namespace, as it is now; nil if there is none with this index.
    package mutating func link(_ index: UInt32) throws(SystemError) -> Link? {
        var header = ifinfomsg()
        header.ifi_index = CInt(index)
        do throws(SystemError) {
            return try ask(Request(type: RTM_GETLINK, name: "RTM_GETLINK", header: header)) {
                Link($0)
            }
        } catch {
            if error.code == ENODEV { return nil }
            throw error
        }
    }
}
