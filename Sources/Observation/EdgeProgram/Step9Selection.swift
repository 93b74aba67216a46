package import Addressing
import BPF
import Packets

/// What of the packets that an edge reports is sent.
package struct FlowSelection: Equatable, Sendable {
    /// The flows of which all is sent; nil for all flows.
    package var sample: FlowSample?
    /// The flows of whose payload no more is sent, in their directions, sorted.
    package var cutFlows: [FlowKey] = []

    package init(sample: FlowSample? = nil, cutFlows: [FlowKey] = []) {
        (self.sample, self.cutFlows) = (sample, cutFlows)
    }

    var isEverything: Bool { sample == nil && cutFlows.isEmpty }
}

/// Step 9, selection: whole flows are left out, or the payload of long ones.
///
/// Fragments and ICMP are punted then, which have their flow's ports elsewhere.
extension EdgeProgramWriter {
    /// Writes the code for packets that are kept otherwise; it goes on at `keep` behind it.
    mutating func writeSelection(_ selection: FlowSelection, selected: Label) {
        let ipv4 = code.makeLabel()
        code.ldh(EthernetHeader.etherType, "EtherType")
        code.jeq(UInt32(EtherType.ipv4), then: ipv4, else: .next, "IPv4?")
        writeSelection(selection, .ipv6, selected: selected)
        code.place(ipv4)
        writeSelection(selection, .ipv4, selected: selected)
    }

    /// Punts what opens or refuses a TCP connection, before a filter may drop it.
    ///
    /// Requests wait for their answers, and calls through fronts are learned, whatever is sent of them.
    mutating func writeOpenings(selected: Label) {
        let ipv4 = code.makeLabel()
        code.ldh(EthernetHeader.etherType, "EtherType")
        code.jeq(UInt32(EtherType.ipv4), then: ipv4, else: .next, "IPv4?")
        code.ldb(PlainFrame.IPv6.protocolNumber, "protocol")
        code.jeq(UInt32(IPProtocol.tcp), then: .next, else: selected, "TCP?")
        puntOpening(.ipv6, else: selected)
        code.place(ipv4)
        code.ldb(PlainFrame.IPv4.protocolNumber, "protocol")
        code.jeq(UInt32(IPProtocol.tcp), then: .next, else: selected, "TCP?")
        puntOpening(.ipv4, else: selected)
    }

    private mutating func writeSelection(
        _ selection: FlowSelection, _ layout: PacketLayout, selected: Label
    ) {
        let (withPorts, withoutPorts, sampling) = (
            code.makeLabel(), code.makeLabel(), code.makeLabel()
        )
        branch(layout, withPorts: withPorts, else: withoutPorts, keepsProtocol: true)

        code.place(withoutPorts)
        let unreadable =
            layout.family == .ipv4
            ? [IPProtocol.icmp] : [IPProtocol.icmpv6] + IPv6Extension.numbers
        for number in unreadable {
            code.jeq(layout.asLoaded(number), then: punt, else: .next, "ICMP or extension?")
        }
        code.rsh(layout.protocolShift, "protocol")
        code.and(0xff, "protocol")
        code.lsh(FlowSample.transportShift, "the protocol, above ports")
        code.st(Scratch.flow, "what is no address")
        code.ja(sampling)

        code.place(withPorts)
        code.rsh(layout.protocolShift, "protocol")
        code.st(Scratch.transport, "protocol")
        writeCutFlows(
            selection.cutFlows.filter { $0.source.family == layout.family }, layout, selected)
        code.ld(.scratch(Scratch.transport), "protocol")
        code.lsh(FlowSample.transportShift, "the protocol, above ports")
        code.tax("the protocol, above ports")
        code.ldh(Int(layout.transport) + PortsHeader.source, "the source's port")
        code.addX("and the protocol")
        code.tax("and the protocol")
        code.ldh(Int(layout.transport) + PortsHeader.destination, "the destination's port")
        code.addX("all that is no address")
        code.st(Scratch.flow, "what is no address")

        code.place(sampling)
        guard let sample = selection.sample else { return code.ja(selected) }
        writeSample(sample, layout, selected)
    }

    /// Hashes as `FlowSample` does.
    private mutating func writeSample(
        _ sample: FlowSample, _ layout: PacketLayout, _ selected: Label
    ) {
        let first = UInt32(
            layout.family == .ipv4 ? PlainFrame.IPv4.source : PlainFrame.IPv6.source)
        code.ld(.packet(first), "the addresses, word 0")
        for word in 1..<UInt32(layout.family.byteCount / 2) {
            code.tax("the sum so far")
            code.ld(.packet(first + 4 * word), "the addresses, word \(word)")
            code.addX("the sum of the words")
        }
        mix(FlowSample.addressMultiplier, FlowSample.addressShift)
        code.tax("the addresses, mixed")
        code.ld(.scratch(Scratch.flow), "ports and protocol")
        code.xorX("all together")
        mix(FlowSample.portMultiplier, FlowSample.portShift)
        mix(FlowSample.lastMultiplier, FlowSample.lastShift)
        code.mod(sample.flowCount, "one flow of \(sample.flowCount)")
        code.jeq(0, then: selected, else: drop, "of the sample?")
    }

    private mutating func mix(_ multiplier: UInt32, _ shift: UInt32) {
        code.mul(multiplier, "mix")
        code.tax("mix")
        code.rsh(shift, "mix")
        code.xorX("mix")
    }

    /// Drops the payload of flows that have had their part.
    private mutating func writeCutFlows(
        _ flows: [FlowKey], _ layout: PacketLayout, _ selected: Label
    ) {
        let others = code.makeLabel()
        let (tcp, udp) = (IPProtocol.tcp, IPProtocol.udp)
        for number in [tcp, udp] where flows.contains(where: { $0.transport == number }) {
            let (isCut, next) = (code.makeLabel(), code.makeLabel())
            code.ld(.scratch(Scratch.transport), "protocol")
            code.jeq(UInt32(number), then: .next, else: next, "the protocol of a cut flow?")
            let entries = flows.filter { $0.transport == number }.map { flow in
                (
                    words: [UInt32(flow.sourcePort) << 16 | UInt32(flow.destinationPort)]
                        + flow.source.words + flow.destination.words, label: isCut
                )
            }
            let first = UInt32(
                layout.family == .ipv4 ? PlainFrame.IPv4.source : PlainFrame.IPv6.source)
            let sorted = entries.sorted { $0.words.lexicographicallyPrecedes($1.words) }
            code.search(sorted[...], else: others, "cut flow") { word in
                word == 0 ? .packet(layout.transport) : .packet(first + 4 * UInt32(word - 1))
            }
            code.place(isCut)
            if number == tcp {
                writePayloadTest(layout, else: others)
            } else {
                code.ja(drop)
            }
            code.place(next)
        }
        code.place(others)
    }

    /// Drops a segment with payload that neither opens, ends nor resets a connection.
    private mutating func writePayloadTest(_ layout: PacketLayout, else others: Label) {
        code.ldb(Int(layout.transport) + TCPHeader.flags, "TCP's flags")
        code.jset(UInt32(TCPHeader.boundaryFlags), then: others, else: .next, "SYN, FIN or RST?")
        code.ldb(Int(layout.transport) + TCPHeader.lengthAndFlags, "the header's length")
        code.rsh(2, "in bytes")
        code.and(0x3c, "in bytes")
        if layout.family == .ipv4 { code.add(UInt32(IPv4Header.byteCount), "with IPv4's") }
        code.tax("the length without payload")
        code.ldh(
            layout.family == .ipv4
                ? EthernetHeader.byteCount + IPv4Header.totalLength
                : EthernetHeader.byteCount + IPv6Header.payloadLength, "the packet's length")
        code.jeq(0, then: drop, else: .next, "longer than it can say?")
        code.jgtX(then: drop, else: others, "payload?")
    }
}
