package import Addressing
import CMnl
import Glibc
package import Linux

extension NetlinkSocket {
    /// The interfaces of this namespace.
    ///
    /// Needs no capability.
    package mutating func links() throws(SystemError) -> [Link] {
        try dump(Request(type: RTM_GETLINK, name: "RTM_GETLINK", header: ifinfomsg())) {
            Link($0).map { [$0] } ?? []
        }
    }

    /// The addresses of this namespace's interfaces.
    package mutating func addresses() throws(SystemError) -> [InterfaceAddress] {
        try dump(Request(type: RTM_GETADDR, name: "RTM_GETADDR", header: ifaddrmsg())) {
            InterfaceAddress($0).map { [$0] } ?? []
        }
    }

    /// The routes of the main table, of both families.
    package mutating func routes() throws(SystemError) -> [Route] {
        var routes: [Route] = []
        for family in IPAddress.Family.allCases {
            var header = rtmsg()
            header.rtm_family = family.native
            let request = Request(type: RTM_GETROUTE, name: "RTM_GETROUTE", header: header)
            routes += try dump(request) { Route.routes(in: $0) }
        }
        return routes
    }

    /// The route that this namespace takes to an address, by all its tables and rules.
    ///
    /// - Returns: nil if the address is its own, or there is no way to it.
    package mutating func route(to address: IPAddress) throws(SystemError) -> Route? {
        var header = rtmsg()
        header.rtm_family = address.family.native
        header.rtm_dst_len = UInt8(address.family.bitCount)
        let request = Request(
            type: RTM_GETROUTE, name: "RTM_GETROUTE to \(address)", header: header,
            attributes: [.bytes(type: Int(RTA_DST.rawValue), address.bytes)])
        do throws(SystemError) {
            return try ask(request) { Route.routes(in: $0, ofAnyTable: true).first }
        } catch {
            // What the kernel says of routes that are not there, and of those that lead nowhere.
            guard
                [.networkUnreachable, .hostUnreachable, .permissionDenied, .invalidArgument]
                    .contains(error.errno)
            else { throw error }
            return nil
        }
    }

    /// The addresses of another namespace's interfaces.
    ///
    /// Needs CAP_NET_ADMIN.
    ///
    /// - Parameter id: This namespace's id for the other one.
    /// - Returns: The addresses of all of them.
    /// - Throws: `EINVAL` if the id is not in use, or not any more.
    package mutating func addresses(
        inNamespace id: Int32
    ) throws(SystemError) -> [InterfaceAddress] {
        let request = Request(
            type: RTM_GETADDR, name: "RTM_GETADDR of namespace \(id)", header: ifaddrmsg(),
            attributes: [.number(type: IFA_TARGET_NETNSID, UInt32(bitPattern: id))])
        return try dump(request) { message in
            // A kernel that does not know the attribute lists this namespace's addresses.
            guard message.namespace(after: ifaddrmsg.self, IFA_TARGET_NETNSID) == id,
                let address = InterfaceAddress(message)
            else { return [] }
            return [address]
        }
    }

    /// The interfaces of another namespace.
    ///
    /// Needs CAP_NET_ADMIN.
    package mutating func links(inNamespace id: Int32) throws(SystemError) -> [Link] {
        let request = Request(
            type: RTM_GETLINK, name: "RTM_GETLINK of namespace \(id)", header: ifinfomsg(),
            attributes: [.number(type: IFLA_TARGET_NETNSID, UInt32(bitPattern: id))])
        return try dump(request) { message in
            guard message.namespace(after: ifinfomsg.self, IFLA_TARGET_NETNSID) == id,
                let link = Link(message)
            else { return [] }
            return [link]
        }
    }
}

extension NetlinkMessage {
    /// The id of the namespace that an answer is about.
    func namespace<Header>(after type: Header.Type, _ attribute: Int) -> Int32? {
        var id: Int32?
        forEachAttribute(after: type) { type, value in
            if type == attribute { id = value.uint32.map { Int32(bitPattern: $0) } }
        }
        return id
    }
}
