import CMnl
import Glibc
package import Linux

extension NetlinkSocket {
    /// The id by which this namespace knows another one (rtnetlink(7), RTM_GETNSID).
    ///
    /// Needs no capability. The id stays the same for as long as the other namespace exists, and is
    /// given to another one afterwards.
    ///
    /// - Parameter namespace: An open file of the other namespace.
    /// - Returns: nil if it has no id here: no interface of this one has an end there.
    /// - Throws: `EINVAL` if the file is no network namespace.
    package mutating func namespaceID(
        of namespace: borrowing Descriptor
    ) throws(SystemError) -> Int32? {
        let request = Request(
            type: RTM_GETNSID, name: "RTM_GETNSID", header: rtgenmsg(),
            attributes: [
                .number(type: NETNSA_FD, UInt32(bitPattern: namespace.fileDescriptor))
            ])
        let id = try ask(request) { $0.namespace(after: rtgenmsg.self, NETNSA_NSID) }
        guard let id, id >= 0 else { return nil }
        return id
    }

    /// Gives another namespace an id by which this one knows it, the lowest that is free.
    ///
    /// Needs CAP_NET_ADMIN.
    ///
    /// - Throws: `EEXIST` if it has one.
    package mutating func assignNamespaceID(
        to namespace: borrowing Descriptor
    ) throws(SystemError) {
        try change(
            Request(
                type: RTM_NEWNSID, name: "RTM_NEWNSID", header: rtgenmsg(),
                attributes: [
                    .number(type: NETNSA_FD, UInt32(bitPattern: namespace.fileDescriptor)),
                    .number(
                        type: NETNSA_NSID, UInt32(bitPattern: NETNSA_NSID_NOT_ASSIGNED)),
                ]))
    }
}
