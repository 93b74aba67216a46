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

    /// The present flows that end elsewhere than they were sent to.
    ///
    /// - Returns: At most `countMax` flows of each family.
    package mutating func translatedFlows(countMax: Int) throws(SystemError) -> [TrackedFlow] {
        var flows: [TrackedFlow] = []
        for family in IPAddress.Family.allCases {
            flows += try self.flows(family, countMax: countMax) { $0.isTranslated }
        }
        return flows
    }

    private mutating func flows(
        _ family: IPAddress.Family, countMax: Int, where isWanted: (TrackedFlow) -> Bool
    ) throws(SystemError) -> [TrackedFlow] {
        var count = 0
        return try socket.dump(Self.listing(of: family)) { message in
            guard count < countMax, let flow = TrackedFlow(message), isWanted(flow) else {
                return []
            }
            count += 1
            return [flow]
        }
    }

    private static let get = Int(NFNL_SUBSYS_CTNETLINK) << 8 | Int(IPCTNL_MSG_CT_GET.rawValue)

    fileprivate static func listing(
        of family: IPAddress.Family
    ) -> NetlinkSocket.Request<nfgenmsg> {
        NetlinkSocket.Request(
            type: get, name: "dump of connection tracking", header: header(family))
    }

    private static func header(_ family: IPAddress.Family) -> nfgenmsg {
        nfgenmsg(nfgen_family: family.native, version: UInt8(NFNETLINK_V0), res_id: 0)
    }
}

/// The flows that the slow path has to know of.
package struct WantedFlows: Equatable, Sendable {
    /// The networks of services: each flow whose first packet goes there is wanted.
    package var towards: [IPNetwork]
    /// The networks of clients: of their flows, those are wanted that go through a front.
    package var throughFrontsFrom: [IPNetwork]

    package init(towards: [IPNetwork], throughFrontsFrom: [IPNetwork] = []) {
        (self.towards, self.throughFrontsFrom) = (towards, throughFrontsFrom)
    }

    package func contains(_ flow: TrackedFlow) -> Bool {
        towards.contains { $0.contains(flow.original.destination) }
            || flow.isThroughFront
                && throughFrontsFrom.contains { $0.contains(flow.original.source) }
    }

    func mayHave(_ family: IPAddress.Family) -> Bool {
        (towards + throughFrontsFrom).contains { $0.family == family }
    }
}

/// A listing of the present flows that are wanted, which is read part by part.
///
/// Needs CAP_NET_ADMIN.
package struct ConntrackListing: ~Copyable {
    private var socket: NetlinkSocket
    private let wanted: WantedFlows
    /// The families that are not listed yet; the last one is being listed if `isUnderWay`.
    private var families: [IPAddress.Family]
    private var isUnderWay = false

    /// Opens a socket for the listing.
    package init(_ wanted: WantedFlows) throws(SystemError) {
        socket = try NetlinkSocket(.netfilter)
        self.wanted = wanted
        families = IPAddress.Family.allCases.filter(wanted.mayHave)
    }

    /// Reads the next part, which takes about 0.1 ms: of a table of 100,000 flows some thousandth.
    ///
    /// - Returns: False if there is no other part.
    package mutating func readPart(_ body: (TrackedFlow) -> Void) throws(SystemError) -> Bool {
        guard let family = families.last else { return false }
        let request = Conntrack.listing(of: family)
        if !isUnderWay { try socket.beginDump(request) }
        isUnderWay = try socket.readPart(request.name) { message in
            if let flow = TrackedFlow(message), wanted.contains(flow) { body(flow) }
        }
        if !isUnderWay { families.removeLast() }
        return !families.isEmpty
    }
}

/// A subscription to new flows of certain kinds.
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
    /// The kernel drops nearly all events about other flows.
    package init(
        _ wanted: WantedFlows, bufferByteCount: Int = Self.bufferByteCount
    ) throws(SystemError) {
        var socket = try NetlinkSocket(.netfilter)
        try socket.setReceiveBuffer(byteCount: bufferByteCount)
        let steps = Self.program(wanted).instructions.map {
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
}
