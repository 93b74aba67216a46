import BPF
import Addressing
import Packets

/// Writes the rule's steps, the last one first.
struct EdgeProgramWriter {
    typealias Height = Assembler.Height

    let rule: Rule
    /// The drop list in order.
    let services: [(key: ServiceKey, value: UInt16)]
    /// Whether frames whose VLAN tag the kernel has taken out are left to user space.
    let settlesTagged: Bool
    var code: Assembler
    let keep: Height
    let settle: Height
    let drop: Height

    mutating func write(at point: ObservationPoint) -> Program {
        // A packet's own code is written before the branch to it, so both families come first.
        let ipv4 = write(PacketLayout.ipv4)
        let ipv6 = write(PacketLayout.ipv6)
        code.jump(.jumpIfEqual, 0x86dd_6000, then: ipv6, else: settle, "IPv6?")
        code.prepend(Instruction(.and, 0xffff_f000), "EtherType and version")
        code.jump(
            .jumpIfEqual, 0x0800_4500, then: ipv4, else: code.top, "IPv4 without options?")
        code.prepend(Instruction(.and, 0xffff_ff00), "EtherType, version and header length")
        let next = code.prepend(Instruction(.loadWord, 12), "EtherType and what follows")
        if rule.deduplicates { ownership(at: point, then: next) }
        code.jump(.jumpIfAtLeast, 34, then: code.top, else: settle, "holds an IPv4 header?")
        code.prepend(Instruction(.loadLength), "how much of the frame there is")
        if settlesTagged {
            code.jump(.jumpIfEqual, 1, then: settle, else: code.top, "a VLAN tag taken out?")
            code.prepend(Instruction(.loadWord, Ancillary.tagPresenceOffset))
        }
        return code.program()
    }

    /// Step 2: what goes to the pod has its address, is to a group, or is a flooded copy.
    private mutating func ownership(at point: ObservationPoint, then next: Height) {
        let ingress = group(else: next)
        guard let mac = point.podMAC else { return }
        let stranger = group(else: drop)
        code.jump(
            .jumpIfEqual, UInt32(mac.value >> 32), then: next, else: stranger,
            "to the pod's \(mac)?")
        code.prepend(Instruction(.loadHalf, 0), "destination MAC, first half")
        code.jump(
            .jumpIfEqual, UInt32(mac.value & 0xffff_ffff), then: code.top, else: stranger,
            "to the pod's \(mac)?")
        let egress = code.prepend(Instruction(.loadWord, 2), "destination MAC, the rest")
        code.jump(.jumpIfEqual, Ancillary.outgoing, then: egress, else: ingress, "egress?")
        code.prepend(Instruction(.loadWord, Ancillary.packetTypeOffset))
    }

    /// Step 3 is for user space.
    private mutating func group(else next: Height) -> Height {
        code.jump(.jumpIfAny, 1, then: settle, else: next, "to a group?")
        return code.prepend(Instruction(.loadByte, 0), "destination MAC, first byte")
    }

    private mutating func write(_ layout: PacketLayout) -> Height {
        let bothPods =
            !rule.deduplicates ? keep : rule.puntsNodeAddresses ? settle : observedEnd(layout)
        let next = ends(layout, bothPods: bothPods)
        switch layout.family {
        case .ipv4:
            code.goOn(to: next)
            store(Instruction(.loadWord, 30), in: Scratch.destination, "destination")
            return store(Instruction(.loadWord, 26), in: Scratch.source, "source")
        case .ipv6:
            code.jump(.jumpIfAtLeast, 54, then: next, else: settle, "holds an IPv6 header?")
            return code.prepend(Instruction(.loadLength), "how much of the frame there is")
        }
    }
}

extension EdgeProgramWriter {
    /// Step 6: ports first, then addresses.
    private mutating func observedEnd(_ layout: PacketLayout) -> Height {
        let sourceReports = reports(atEgress: false)
        let destinationReports = reports(atEgress: true)
        let byAddress = compareAddresses(layout, sourceReports, destinationReports)
        let withoutPorts = withoutPorts(layout, then: byAddress)
        let unlessItself = compareEnds(layout, same: sourceReports, else: destinationReports)
        code.jump(.jumpIfGreater.withX, then: unlessItself, else: sourceReports, "lower port?")
        code.jump(.jumpIfEqual.withX, then: byAddress, else: code.top, "equal ports?")
        code.prepend(Instruction(.multiply, 0x1_0001), "the source port, twice")
        code.prepend(Instruction(.shiftRight, 16), "the source port")
        code.prepend(Instruction(.copyToX), "both ports, to compare with")
        let byPort = code.prepend(Instruction(.loadWord, layout.transport), "both ports")
        return transport(layout, withPorts: byPort, else: withoutPorts)
    }

    /// The observed end's edge: the source's if the frame came from its pod, the destination's if
    /// the frame goes there.
    private mutating func reports(atEgress: Bool) -> Height {
        code.jump(
            .jumpIfEqual, Ancillary.outgoing, then: atEgress ? keep : drop,
            else: atEgress ? drop : keep, "egress?")
        return code.prepend(Instruction(.loadWord, Ancillary.packetTypeOffset))
    }

    /// What an address sends to itself is reported where it enters, whatever the ports. The last
    /// word comes first: it is the one that differs.
    private mutating func compareEnds(
        _ layout: PacketLayout, same: Height, else different: Height
    ) -> Height {
        var next = same
        for word in 0..<layout.family.byteCount / 4 {
            code.jump(.jumpIfEqual.withX, then: next, else: different, "to itself?")
            code.prepend(layout.source.load(word), "source, word \(word)")
            code.prepend(Instruction(.copyToX), "the destination's, to compare with")
            next = code.prepend(layout.destination.load(word), "destination, word \(word)")
        }
        return next
    }

    private mutating func compareAddresses(
        _ layout: PacketLayout, _ sourceReports: Height, _ destinationReports: Height
    ) -> Height {
        var next = sourceReports
        for word in (0..<layout.family.byteCount / 4).reversed() {
            code.jump(
                .jumpIfGreater.withX, then: destinationReports, else: sourceReports,
                "lower address?")
            code.jump(.jumpIfEqual.withX, then: next, else: code.top, "equal?")
            code.prepend(layout.source.load(word), "source, word \(word)")
            code.prepend(Instruction(.copyToX), "the destination's, to compare with")
            next = code.prepend(layout.destination.load(word), "destination, word \(word)")
        }
        return next
    }

    /// What stands behind extension headers, and what an ICMP error quotes, is for user space to read.
    private mutating func withoutPorts(_ layout: PacketLayout, then next: Height) -> Height {
        switch layout.family {
        case .ipv4:
            var type = next
            for error in ICMPHeader.errors {
                type = code.jump(
                    .jumpIfEqual, UInt32(error), then: settle, else: type, "ICMP error?")
            }
            type = code.prepend(Instruction(.loadByte, layout.transport), "ICMP type")
            return code.jump(
                .jumpIfEqual, layout.asLoaded(IPProtocol.icmp), then: type, else: next, "ICMP?")
        case .ipv6:
            code.jump(.jumpIfAtLeast, 128, then: next, else: settle, "ICMPv6 error?")
            let type = code.prepend(Instruction(.loadByte, layout.transport), "ICMP type")
            return IPv6Extension.numbers.reduce(
                code.jump(
                    .jumpIfEqual, layout.asLoaded(IPProtocol.icmpv6), then: type, else: next,
                    "ICMPv6?")
            ) { next, number in
                code.jump(
                    .jumpIfEqual, layout.asLoaded(number), then: settle, else: next,
                    "extension header?")
            }
        }
    }

    /// Whether it has ports; for user space if it is a fragment, or cut or padded before them.
    @discardableResult
    mutating func transport(
        _ layout: PacketLayout, withPorts: Height, else next: Height
    ) -> Height {
        var next = next
        for number in IPProtocol.withPorts.reversed() {
            next = code.jump(
                .jumpIfEqual, layout.asLoaded(number), then: withPorts, else: next, "has ports?")
        }
        next = code.prepend(Instruction(.and, layout.asLoaded(.max)), "protocol")
        if layout.family == .ipv4 {
            code.jump(.jumpIfAny, 0x3fff_0000, then: settle, else: next, "fragment?")
            next = code.prepend(Instruction(.loadWord, 20), "fragment offset and flags, protocol")
        }
        code.jump(.jumpIfAtLeast, 1 << 16, then: settle, else: next, "longer than it can say?")
        code.jump(
            .jumpIfAtLeast, layout.lengthMin << 16, then: next, else: code.top,
            "long enough for ports?")
        code.prepend(
            Instruction(.loadWord, layout.length), "what the packet says its length is")
        code.jump(
            .jumpIfAtLeast, layout.transport + 4, then: code.top, else: settle, "holds ports?")
        return code.prepend(Instruction(.loadLength), "how much of the frame there is")
    }

    @discardableResult
    mutating func store(_ load: Instruction, in scratch: UInt32, _ note: String) -> Height {
        code.prepend(Instruction(.storeScratch, scratch), note)
        return code.prepend(load, note)
    }
}

/// Where the fields of a family's header lie in the frame.
struct PacketLayout {
    let family: IPAddress.Family
    let source: AddressSource
    let destination: AddressSource
    let length: UInt32
    /// The least that the length field can say when there are ports.
    let lengthMin: UInt32
    /// How many bits stand behind the protocol in the word that it is loaded with.
    let protocolShift: UInt32
    let transport: UInt32

    /// A protocol as it stands in that word.
    func asLoaded(_ number: UInt8) -> UInt32 { UInt32(number) << protocolShift }

    static let ipv4 = Self(
        family: .ipv4, source: .scratch(Scratch.source),
        destination: .scratch(Scratch.destination), length: 16, lengthMin: 24, protocolShift: 0,
        transport: 34)
    static let ipv6 = Self(
        family: .ipv6, source: .packet(22), destination: .packet(38), length: 18, lengthMin: 4,
        protocolShift: 8, transport: 54)
}

/// Which word of scratch memory is for what.
enum Scratch {
    static let isDestinationPod: UInt32 = 0
    /// A service: its address in up to four words, protocol and port in one. And its client's port.
    static let serviceAddress: UInt32 = 1
    static let service: UInt32 = 5
    static let clientPort: UInt32 = 6
    /// The ends of an IPv4 packet. The kernel checks each load from a packet against its length, so
    /// it costs several times a load from here.
    static let source: UInt32 = 7
    static let destination: UInt32 = 8
}

extension Array where Element == IPAddress {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}

extension Array where Element == IPNetwork {
    func of(_ family: IPAddress.Family) -> Self { filter { $0.family == family } }
}
