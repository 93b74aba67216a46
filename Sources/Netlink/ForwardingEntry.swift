package import Addressing
import BPF
import CMnl
import Glibc
package import Linux

/// An entry of a bridge's forwarding table: a MAC address, and the port behind which it lives.
package struct ForwardingEntry: Hashable, Sendable {
    /// The MAC address.
    package let mac: MACAddress
    /// The index of the bridge.
    package let bridge: UInt32
    /// The index of the port; that of the bridge for its own addresses.
    package let port: UInt32
    /// Whether the address is the node's own, and not one that the bridge has learned.
    package let isLocal: Bool

    /// An entry by its parts.
    package init(mac: MACAddress, bridge: UInt32, port: UInt32, isLocal: Bool = false) {
        (self.mac, self.bridge, self.port, self.isLocal) = (mac, bridge, port, isLocal)
    }
}

/// A change of a bridge's forwarding table.
package enum ForwardingEvent: Equatable, Sendable {
    /// The bridge has learned an address, perhaps at another port than before.
    case learned(ForwardingEntry)
    /// The bridge has forgotten an address, which is silent or gone.
    case forgotten(ForwardingEntry)
}

extension ForwardingEntry {
    /// Reads an RTM_NEWNEIGH or RTM_DELNEIGH; nil for tables that are not a bridge's.
    ///
    /// A VXLAN device has a table of its own, whose entries name no bridge (`NTF_SELF`).
    package init?(_ message: NetlinkMessage) {
        guard let header = message.header(ndmsg.self), CInt(header.ndm_family) == AF_BRIDGE,
            header.ndm_ifindex > 0
        else { return nil }
        var mac: MACAddress?
        var bridge: UInt32?
        message.forEachAttribute(after: ndmsg.self) { type, value in
            switch type {
            case Int(NDA_LLADDR) where value.byteCount == 6: mac = MACAddress(value, at: 0)
            case Int(NDA_MASTER): bridge = value.uint32
            default: break
            }
        }
        guard let mac, let bridge else { return nil }
        self.init(
            mac: mac, bridge: bridge, port: UInt32(header.ndm_ifindex),
            isLocal: CInt(header.ndm_state) & NUD_PERMANENT != 0)
    }
}

extension ForwardingEvent {
    /// Reads an event; nil for messages about other things.
    package init?(_ message: NetlinkMessage) {
        guard let entry = ForwardingEntry(message) else { return nil }
        switch CInt(message.type) {
        case CInt(RTM_NEWNEIGH): self = .learned(entry)
        case CInt(RTM_DELNEIGH): self = .forgotten(entry)
        default: return nil
        }
    }
}

extension NetlinkSocket {
    /// Lists what a bridge knows behind one of its ports; at the bridge itself, its own addresses.
    ///
    /// Needs no capability. The kernel walks the bridge's whole table for each part of a list, and a
    /// pod can fill that table, so the list stops soon after a number of entries.
    ///
    /// - Parameters:
    ///   - port: The index of the port, or of the bridge.
    ///   - countMax: The number of entries after which the list stops.
    /// - Returns: The entries; none if there is no such port.
    /// - Throws: The kernel's reason for refusing.
    package static func forwardingEntries(
        behind port: UInt32, countMax: Int
    ) throws(SystemError) -> [ForwardingEntry] {
        var header = ndmsg()
        header.ndm_family = UInt8(AF_BRIDGE)
        header.ndm_ifindex = CInt(bitPattern: port)
        let request = Request(
            type: RTM_GETNEIGH, name: "RTM_GETNEIGH of port \(port)", header: header)
        // A socket of its own: closing it ends a list that is not read to its end.
        return try NetlinkSocket().dump(request, countMax: countMax) {
            ForwardingEntry($0).map { [$0] } ?? []
        }
    }
}

/// A subscription to what bridges learn and forget.
///
/// Needs no capability.
///
/// It has a socket of its own: a pod can make a bridge learn without end, and must not delay events
/// about interfaces by that.
package struct ForwardingEvents: ~Copyable {
    private var socket: NetlinkSocket

    /// Room for about 1,500 events.
    ///
    /// If there are more, some are lost, and the ports are listed again.
    private static let bufferByteCount = 1 << 20

    /// Subscribes.
    ///
    /// The kernel drops events about neighbours that are not a bridge's.
    package init() throws(SystemError) {
        var socket = try NetlinkSocket()
        try socket.setReceiveBuffer(byteCount: Self.bufferByteCount)
        let steps = Self.program.instructions.map { step -> Descriptor.FilterInstruction in
            (step.opcode.rawValue, step.ifTrue, step.ifFalse, step.operand)
        }
        try Descriptor.attachFilter(steps, to: socket.fileDescriptor)
        try socket.join(Int(RTNLGRP_NEIGH.rawValue), "RTNLGRP_NEIGH")
        self.socket = socket
    }

    /// The descriptor, for a poll set: readable when events wait.
    package var fileDescriptor: CInt { socket.fileDescriptor }

    /// Reads the events that wait.
    ///
    /// Never waits itself.
    ///
    /// - Returns: False if events were lost: then list again what there is.
    package mutating func read(_ body: (ForwardingEvent) -> Void) throws(SystemError) -> Bool {
        try socket.readEvents("bridges' events") { message in
            if let event = ForwardingEvent(message) { body(event) }
        }
    }

    /// A program that keeps messages of the bridge family, which is the first byte after the header.
    private static var program: Program {
        var code = Assembler()
        let (keep, drop) = (code.makeLabel(), code.makeLabel())
        code.ldb(MemoryLayout<nlmsghdr>.size, "the address family")
        code.jeq(UInt32(AF_BRIDGE), then: keep, else: drop, "a bridge?")
        code.place(drop)
        code.ret(0, "drop")
        code.place(keep)
        code.ret(.max, "keep")
        return code.program()
    }
}
