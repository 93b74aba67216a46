package import Addressing
import BPF
import CMnl
import Glibc
package import Linux
import Packets

/// A client of the kernel's connection tracking.
///
/// Needs CAP_NET_ADMIN.
package struct Conntrack: ~Copyable {
    private var socket: NetlinkSocket

    /// Opens a socket for requests.
    package init() throws(SystemError) {
        socket = try NetlinkSocket(.netfilter)
    }

    /// Checks that the kernel answers, by asking about a flow that cannot exist.
    package mutating func check() throws(SystemError) {
        let nobody = IPAddress(ipv4: 0)
        _ = try flow(
            FlowKey(
                transport: IPProtocol.udp, source: nobody, destination: nobody, sourcePort: 0,
                destinationPort: 0))
    }

    /// The flow that has these addresses and ports in one of its directions, or nil.
    ///
    /// The kernel answers at once.
    package mutating func flow(_ key: FlowKey) throws(SystemError) -> TrackedFlow? {
        let request = NetlinkSocket.Request(
            type: Self.get, name: "IPCTNL_MSG_CT_GET", header: Self.header(key.source.family),
            attributes: [key.tuple])
        do throws(SystemError) {
            return try socket.ask(request) { TrackedFlow($0) }
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
    }

    /// The present flows whose first packet went to an address of these networks.
    ///
    /// A table of 100,000 flows takes about 100 ms.
    ///
    /// - Returns: At most `countMax` flows.
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

    /// The present flows that end elsewhere than they were sent to.
    ///
    /// - Returns: At most `countMax` flows.
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

/// A subscription to new flows towards certain addresses.
///
/// Needs CAP_NET_ADMIN.
///
/// The kernel reports a flow when its first packet has left the node's hooks.
package struct ConntrackEvents: ~Copyable {
    private var socket: NetlinkSocket

    /// Room for the events of a second at 10,000 flows a second, each of which takes 800 bytes.
    package static let bufferByteCount = 8 << 20

    /// Subscribes.
    ///
    /// The kernel drops events about other addresses.
    package init(
        towards networks: [IPNetwork], bufferByteCount: Int = Self.bufferByteCount
    ) throws(SystemError) {
        var socket = try NetlinkSocket(.netfilter)
        try socket.setReceiveBuffer(byteCount: bufferByteCount)
        let steps = Self.program(networks).instructions.map {
            step -> Descriptor.FilterInstruction in
            (step.opcode.rawValue, step.ifTrue, step.ifFalse, step.operand)
        }
        try Descriptor.attachFilter(steps, to: socket.fileDescriptor)
        try socket.join(
            Int(NFNLGRP_CONNTRACK_NEW.rawValue), "NFNLGRP_CONNTRACK_NEW")
        self.socket = socket
    }

    /// The descriptor, for a poll set: readable when events wait.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    /// Reads the events that wait.
    ///
    /// Never waits itself.
    ///
    /// - Returns: False if the kernel has dropped events because they were not read in time.
    package mutating func read(_ body: (TrackedFlow) -> Void) throws(SystemError) -> Bool {
        try socket.readEvents("connection tracking's events") { message in
            if let flow = TrackedFlow(message) { body(flow) }
        }
    }

    /// A program that keeps events by the destination of the flow's first packet.
    ///
    /// The destination is at a fixed offset. The message begins with its header and the family. The
    /// original tuple, its addresses, the source and the destination follow, each behind an attribute
    /// header of four bytes.
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
