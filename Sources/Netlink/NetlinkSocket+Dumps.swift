import Frames
package import Kernel

import CMnl
import Glibc

extension NetlinkSocket {
    /// All interfaces of this namespace. Needs no capability.
    package mutating func links() throws(SystemError) -> [Link] {
        try dump(RTM_GETLINK, "RTM_GETLINK", ifinfomsg()) { Link($0).map { [$0] } ?? [] }
    }

    /// All addresses of this namespace's interfaces.
    package mutating func addresses() throws(SystemError) -> [InterfaceAddress] {
        try dump(RTM_GETADDR, "RTM_GETADDR", ifaddrmsg()) {
            InterfaceAddress($0).map { [$0] } ?? []
        }
    }

    /// The routes of the main table, of both families.
    package mutating func routes() throws(SystemError) -> [Route] {
        var routes: [Route] = []
        for family in IPAddress.Family.allCases {
            var header = rtmsg()
            header.rtm_family = family.native
            routes += try dump(RTM_GETROUTE, "RTM_GETROUTE", header) { Route.routes(in: $0) }
        }
        return routes
    }

    /// The addresses of one interface of another namespace, which this one knows by an id. Needs
    /// CAP_NET_ADMIN. `EINVAL` means that the id is not in use (any more).
    package mutating func addresses(
        ofInterface index: UInt32, inNamespace id: Int32
    ) throws(SystemError) -> [InterfaceAddress] {
        var header = ifaddrmsg()
        header.ifa_index = index
        let attribute = (type: IFA_TARGET_NETNSID, value: UInt32(bitPattern: id))
        return try dump(
            RTM_GETADDR, "RTM_GETADDR of namespace \(id)", header, attribute: attribute
        ) { message in
            // A kernel that does not know the attribute answers with this namespace's own.
            guard message.namespace(after: ifaddrmsg.self, IFA_TARGET_NETNSID) == id,
                let address = InterfaceAddress(message), address.interfaceIndex == index
            else { return [] }
            return [address]
        }
    }

    /// The interfaces of another namespace. Needs CAP_NET_ADMIN.
    package mutating func links(inNamespace id: Int32) throws(SystemError) -> [Link] {
        let attribute = (type: IFLA_TARGET_NETNSID, value: UInt32(bitPattern: id))
        return try dump(
            RTM_GETLINK, "RTM_GETLINK of namespace \(id)", ifinfomsg(), attribute: attribute
        ) { message in
            guard message.namespace(after: ifinfomsg.self, IFLA_TARGET_NETNSID) == id,
                let link = Link(message)
            else { return [] }
            return [link]
        }
    }
}

extension NetlinkMessage {
    /// The namespace id that an answer says it speaks of.
    fileprivate func namespace<Header>(after type: Header.Type, _ attribute: Int) -> Int32? {
        var id: Int32?
        forEachAttribute(after: type) { type, value in
            if type == attribute { id = value.number.map { Int32(bitPattern: $0) } }
        }
        return id
    }
}
