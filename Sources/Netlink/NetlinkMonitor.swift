import CMnl
import Glibc
package import Linux

/// A change of the node's network.
package enum NodeEvent: Equatable, Sendable {
    /// An interface has come or changed.
    case link(Link)
    /// An interface, by its index, was deleted or moved to another namespace.
    case linkGone(UInt32)
    /// An address of one of the node's own interfaces has come or gone.
    case address
    /// A route has come or gone.
    case route
    /// An id of another namespace was assigned or freed; ids are reused at once.
    case namespace
}

/// A subscription to changes of interfaces, addresses, routes and namespace ids, in order.
///
/// Subscribe first and list what there is afterwards: a change in between then comes as an event,
/// and an event about a known change does no harm. Needs no capability.
package struct NetlinkMonitor: ~Copyable {
    private var socket: NetlinkSocket
    /// Receives events about addresses inside pods, if the process may have them.
    private var pods: NetlinkSocket?
    /// The descriptor for events about addresses inside pods; -1 if there are none.
    package let podsFileDescriptor: CInt

    /// Room for the events of about 250 pods that are made in one burst.
    package static let bufferByteCount = 4 << 20

    /// Subscribes.
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

    /// Subscribes to addresses in other namespaces.
    ///
    /// Needs CAP_NET_BROADCAST.
    private static func listenToPods() throws(SystemError) -> NetlinkSocket {
        var socket = try NetlinkSocket()
        try socket.listenToAllNamespaces()
        try socket.join(Int(RTNLGRP_IPV4_IFADDR.rawValue), "RTNLGRP_IPV4_IFADDR")
        try socket.join(Int(RTNLGRP_IPV6_IFADDR.rawValue), "RTNLGRP_IPV6_IFADDR")
        return socket
    }

    /// Takes the ids of the namespaces whose addresses have changed; nil if they are not known.
    package mutating func takeChangedNamespaces() throws(SystemError) -> Set<Int32>? {
        try pods?.takeNamespaces() ?? nil
    }

    /// The descriptor, for a poll set: readable when events wait.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    /// Reads the events that wait.
    ///
    /// Never waits itself.
    ///
    /// - Returns: False if events were lost: then list again what there is.
    package mutating func read(_ body: (NodeEvent) -> Void) throws(SystemError) -> Bool {
        try socket.readEvents("the node's events", discardsAfterLoss: true) { message in
            if let event = NodeEvent(message) { body(event) }
        }
    }
}

extension NodeEvent {
    /// Reads an event; nil for messages about other things.
    init?(_ message: NetlinkMessage) {
        switch CInt(message.type) {
        case CInt(RTM_NEWLINK), CInt(RTM_DELLINK):
            // A message of the bridge family is about a port, whose end is no device's end.
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
    /// The interface of this namespace with an index, or nil if there is none.
    package mutating func link(_ index: UInt32) throws(SystemError) -> Link? {
        var header = ifinfomsg()
        header.ifi_index = CInt(index)
        do throws(SystemError) {
            return try ask(Request(type: RTM_GETLINK, name: "RTM_GETLINK", header: header)) {
                Link($0)
            }
        } catch {
            if error.errno == .noSuchDevice { return nil }
            throw error
        }
    }
}
