import Addressing
import BPF
import Packets

/// A writer of edges' programs, section by section, in the order in which they run.
///
/// Each section is in a file that is named after its step of the rule. Two steps have none:
/// whatever is a group frame (step 3) or a fragment (step 7) is punted.
struct EdgeProgramWriter {
    typealias Label = Assembler.Label

    let rule: Rule
    let point: ObservationPoint
    /// The fronts, sorted.
    let fronts: [ServiceKey]
    /// The drop list, sorted.
    let services: [(key: ServiceKey, value: UInt16)]
    /// The MAC addresses whose flooded copies are dropped.
    let floods: [MACAddress]
    /// Whether frames are punted whose VLAN tag the kernel has taken out.
    let puntsTagged: Bool

    var code: Assembler
    let drop: Label
    let keep: Label
    let punt: Label

    init(
        rule: Rule, point: ObservationPoint, fronts: Set<ServiceKey>,
        services: [(key: ServiceKey, value: UInt16)], floods: [MACAddress], puntsTagged: Bool
    ) {
        (self.rule, self.point, self.services) = (rule, point, services)
        self.fronts = rule.deduplicates ? fronts.sorted() : []
        (self.floods, self.puntsTagged) = (floods, puntsTagged)
        var code = Assembler()
        (drop, keep, punt) = (code.makeLabel(), code.makeLabel(), code.makeLabel())
        self.code = code
    }

    /// Returns the program for an edge.
    ///
    /// *Keep* goes on at the filter, or keeps this number of bytes if there is none.
    consuming func program(
        _ selection: FlowSelection, filter: Program?, keepByteCount: UInt32
    ) -> Program {
        writeChecks()
        if rule.deduplicates { writeOwnership(at: point) }
        let (ipv4, ipv6) = (code.makeLabel(), code.makeLabel())
        writeFamilies(ipv4: ipv4, ipv6: ipv6)
        for (label, layout) in [(ipv6, PacketLayout.ipv6), (ipv4, PacketLayout.ipv4)] {
            code.place(label)
            writeEnds(layout)
        }
        let isFiltered = filter != nil || !selection.isEverything
        let selected = isFiltered ? code.makeLabel() : keep
        if isFiltered {
            code.place(keep)
            if selection.isEverything {
                writeOpenings(selected: selected)
            } else {
                writeSelection(selection, selected: selected)
            }
        }
        code.place(drop)
        code.ret(0, "drop")
        code.place(punt)
        code.ret(EdgeProgram.puntByteCount, "punt to user space")
        code.place(selected)
        if let filter {
            code.emit(filter, "client's filter")
        } else {
            code.ret(keepByteCount, "keep")
        }
        return code.program()
    }

    /// Punts frames whose tag is to be put back, and those without a whole IPv4 header.
    private mutating func writeChecks() {
        if puntsTagged {
            code.ld(.tagPresence)
            code.jeq(1, then: punt, else: .next, "a VLAN tag taken out?")
        }
        code.ld(.length, "how much of the frame there is")
        code.jge(PacketLayout.ipv4.transport, then: .next, else: punt, "holds an IPv4 header?")
    }

    /// Goes on at the code of the packet's family; punts all but IP, and IPv4 with options.
    private mutating func writeFamilies(ipv4: Label, ipv6: Label) {
        let start = UInt32(EthernetHeader.etherType)
        let ipv4Start = UInt32(EtherType.ipv4) << 16 | UInt32(IPv4Header.plainStart) << 8
        let ipv6Start = UInt32(EtherType.ipv6) << 16 | 6 << 12
        code.ld(.packet(start), "EtherType and what follows")
        code.and(0xffff_ff00, "EtherType, version and header length")
        code.jeq(ipv4Start, then: ipv4, else: .next, "IPv4 without options?")
        code.and(0xffff_f000, "EtherType and version")
        code.jeq(ipv6Start, then: ipv6, else: punt, "IPv6?")
    }
}

/// Parts that several sections have in common.
extension EdgeProgramWriter {
    /// Branches by the direction of the frame.
    ///
    /// Frames to the pod are outgoing at the host's end of its pair, and frames from it at its own end.
    mutating func branch(toPod: Label, fromPod: Label) {
        code.ld(.packetType, "the packet's direction")
        switch point.side {
        case .host: code.jeq(Ancillary.outgoing, then: toPod, else: fromPod, "to the pod?")
        case .pod: code.jeq(Ancillary.outgoing, then: fromPod, else: toPod, "from the pod?")
        }
    }

    /// Tests whether a packet has ports.
    ///
    /// Step 7, fragments: they are punted, as are frames that are cut or padded before the ports.
    /// Step 8, requests: TCP segments that open, accept or refuse a connection are punted. Packets
    /// without ports still have their protocol in the accumulator; those with ports do if it is kept.
    mutating func branch(
        _ layout: PacketLayout, withPorts: Label, else withoutPorts: Label,
        keepsProtocol: Bool = false
    ) {
        let isLongEnough = code.makeLabel()
        code.ld(.length, "how much of the frame there is")
        code.jge(
            layout.transport + UInt32(PortsHeader.byteCount), then: .next, else: punt,
            "holds ports?")
        code.ld(.packet(layout.length), "what the packet says its length is")
        code.jge(
            layout.lengthWithPorts << 16, then: isLongEnough, else: .next,
            "long enough for ports?")
        code.jge(1 << 16, then: punt, else: .next, "longer than it can say?")
        code.place(isLongEnough)
        if let fragment = layout.fragment {
            code.ld(.packet(fragment), "fragment offset and flags, protocol")
            code.jset(
                UInt32(IPv4Header.fragmentMask) << 16, then: punt, else: .next, "fragment?")
        }
        code.and(layout.asLoaded(.max), "protocol")
        let tcp = code.makeLabel()
        for number in IPProtocol.withPorts {
            let label = number == IPProtocol.tcp ? tcp : withPorts
            code.jeq(layout.asLoaded(number), then: label, else: .next, "has ports?")
        }
        code.ja(withoutPorts)
        code.place(tcp)
        puntOpening(layout, else: keepsProtocol ? .next : withPorts)
        guard keepsProtocol else { return }
        code.ld(.constant(layout.asLoaded(IPProtocol.tcp)), "protocol")
        code.ja(withPorts)
    }
}

/// The layout of a plain frame, as programs load its fields.
struct PacketLayout {
    let family: IPAddress.Family
    let source: AddressSource
    let destination: AddressSource
    let length: UInt32
    let lengthWithPorts: UInt32
    /// The word with the fragment's offset and the protocol; IPv6 has another header for fragments.
    let fragment: UInt32?
    /// The number of bits behind the protocol in the word in which it is loaded.
    let protocolShift: UInt32
    let transport: UInt32

    /// Returns a protocol as it stands in the word in which it is loaded.
    func asLoaded(_ number: UInt8) -> UInt32 { UInt32(number) << protocolShift }

    /// IPv4: the protocol is the last byte of the word with the fragment's offset.
    static let ipv4 = Self(
        family: .ipv4, source: .scratch(Scratch.source),
        destination: .scratch(Scratch.destination), length: UInt32(PlainFrame.IPv4.length),
        lengthWithPorts: UInt32(PlainFrame.IPv4.lengthWithPorts),
        fragment: UInt32(PlainFrame.IPv4.fragment), protocolShift: 0,
        transport: UInt32(PlainFrame.IPv4.transport))

    /// IPv6: the protocol follows the length, in the same word.
    static let ipv6 = Self(
        family: .ipv6, source: .packet(UInt32(PlainFrame.IPv6.source)),
        destination: .packet(UInt32(PlainFrame.IPv6.destination)),
        length: UInt32(PlainFrame.IPv6.length),
        lengthWithPorts: UInt32(PlainFrame.IPv6.lengthWithPorts), fragment: nil,
        protocolShift: 8, transport: UInt32(PlainFrame.IPv6.transport))
}

/// The use of each word of scratch memory.
enum Scratch {
    static let isDestinationPod: UInt32 = 0
    /// A service: its address in up to four words, protocol and port in one; and its client's port.
    static let serviceAddress: UInt32 = 1
    static let service: UInt32 = 5
    static let clientPort: UInt32 = 6
    /// The ends of an IPv4 packet.
    ///
    /// The kernel checks each load from a packet against its length, which costs several times a
    /// load from here.
    static let source: UInt32 = 7
    static let destination: UInt32 = 8
    /// A packet's protocol, and what tells its flow from others beside the addresses.
    static let transport: UInt32 = 9
    static let flow: UInt32 = 10
}

extension Array where Element == IPAddress {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}

extension Array where Element == IPNetwork {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}
