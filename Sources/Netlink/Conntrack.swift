package import Addressing
import Packets
package import Linux

import BPF
import CMnl
import Glibc

/// The kernel's connection tracking, asked flow by flow. Needs CAP_NET_ADMIN.
package struct Conntrack: ~Copyable {
    private var socket: NetlinkSocket

    package init() throws(SystemError) {
        socket = try NetlinkSocket(.netfilter)
    }

    /// Finds out whether it can be asked at all, by a question that has no answer.
    package mutating func check() throws(SystemError) {
        let nobody = IPAddress(ipv4: 0)
        _ = try flow(
            FlowKey(
                transport: IPProtocol.udp, source: nobody, destination: nobody, sourcePort: 0,
                destinationPort: 0))
    }

    /// The flow that has these addresses and ports in one of its directions, or nil. Answered by the
    /// kernel at once.
    package mutating func flow(_ key: FlowKey) throws(SystemError) -> TrackedFlow? {
        let request = NetlinkSocket.Request(
            type: Self.get, name: "IPCTNL_MSG_CT_GET", header: Self.header(key.source.family),
            attributes: [key.tuple])
        do throws(SystemError) {
            return try socket.ask(request) { TrackedFlow($0) }
        } catch {
            if error.code == ENOENT { return nil }
            throw error
        }
    }

    /// The flows that exist at present and begin towards an address of these networks, no more than
    /// a number. A table of 100,000 flows takes some 100 ms.
    package mutating func flows(
        towards networks: [IPNetwork], countMax: Int
    ) throws(SystemError) -> [TrackedFlow] {
        var flows: [TrackedFlow] = []
        for family in IPAddress.Family.allCases
        where networks.contains(where: { $0.family == family }) {
            flows += try self.flows(family, countMax: countMax - flows.count) { flow in
                networks.contains { $0.contains(flow.original.destination) }
            }
        }
        return flows
    }

    /// The flows that exist at present and end elsewhere than they were sent to, no more than a
    /// number.
    package mutating func translatedFlows(countMax: Int) throws(SystemError) -> [TrackedFlow] {
        var flows: [TrackedFlow] = []
        for family in IPAddress.Family.allCases {
            flows += try self.flows(family, countMax: countMax - flows.count) { $0.isTranslated }
        }
        return flows
    }

    private mutating func flows(
        _ family: IPAddress.Family, countMax: Int, where isWanted: (TrackedFlow) -> Bool
    ) throws(SystemError) -> [TrackedFlow] {
        var count = 0
        let request = NetlinkSocket.Request(
            type: Self.get, name: "dump of connection tracking", header: Self.header(family))
        return try socket.dump(request) { message in
            guard count < countMax, let flow = TrackedFlow(message), isWanted(flow) else {
                return []
            }
            count += 1
            return [flow]
        }
    }

    private static let get = Int(NFNL_SUBSYS_CTNETLINK) << 8 | Int(IPCTNL_MSG_CT_GET.rawValue)

    private static func header(_ family: IPAddress.Family) -> nfgenmsg {
        nfgenmsg(nfgen_family: family.native, version: UInt8(NFNETLINK_V0), res_id: 0)
    }
}

/// Tells of each new flow towards certain addresses, when its first packet has left the node's hooks.
/// Needs CAP_NET_ADMIN.
package struct ConntrackEvents: ~Copyable {
    private var socket: NetlinkSocket

    /// An event takes some 800 bytes of it: room for a second's events at 10,000 flows a second.
    package static let bufferByteCount = 8 << 20

    /// Begins to listen. The kernel throws away what concerns other addresses.
    package init(
        towards networks: [IPNetwork], bufferByteCount: Int = Self.bufferByteCount
    ) throws(SystemError) {
        var socket = try NetlinkSocket(.netfilter)
        try socket.setReceiveBuffer(byteCount: bufferByteCount)
        try Descriptor.attach(Self.program(networks), to: socket.number)
        try socket.join(
            Int(NFNLGRP_CONNTRACK_NEW.rawValue), "NFNLGRP_CONNTRACK_NEW")
        self.socket = socket
    }

    /// For a poll set: readable when there are events.
    package var number: CInt { socket.number }

    /// Reads the events there are, without waiting. Answers false if some were lost.
    package mutating func read(_ body: (TrackedFlow) -> Void) throws(SystemError) -> Bool {
        try socket.readEvents("connection tracking's events") { message in
            if let flow = TrackedFlow(message) { body(flow) }
        }
    }

    /// Looks at the original tuple's destination. It stands at a fixed place: the message begins with
    /// its header and the family, then come the original tuple, its addresses, the source and the
    /// destination, each behind an attribute header of four bytes.
    static func program(_ networks: [IPNetwork]) -> Program {
        var code = Assembler()
        let (ipv4, ipv6) = (code.makeLabel(), code.makeLabel())
        let (drop, keep) = (code.makeLabel(), code.makeLabel())
        code.ldb(16, "the address family")
        code.jeq(UInt32(AF_INET), then: ipv4, else: .next, "IPv4?")
        code.jeq(UInt32(AF_INET6), then: ipv6, else: drop, "IPv6?")
        code.place(ipv4)
        code.test(
            .packet(40), inside: networks.filter { $0.family == .ipv4 }, then: keep, else: drop,
            "service")
        code.place(ipv6)
        code.test(
            .packet(52), inside: networks.filter { $0.family == .ipv6 }, then: keep, else: drop,
            "service")
        code.place(drop)
        code.ret(0, "drop")
        code.place(keep)
        code.ret(.max, "keep")
        return code.program()
    }
}
