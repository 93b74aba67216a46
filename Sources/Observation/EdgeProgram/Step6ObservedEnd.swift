import Addressing
import BPF
import Packets

/// Step 6, both ends are pods: the edge of the observed end reports.
extension EdgeProgramWriter {
    /// Compares ports first, then addresses.
    mutating func writeObservedEnd(_ layout: PacketLayout) {
        // Without deduplication all edges report; with too many node addresses user space decides.
        guard rule.deduplicates, !rule.puntsNodeAddresses else {
            return code.ja(rule.deduplicates ? punt : keep)
        }
        let (withPorts, withoutPorts) = (code.makeLabel(), code.makeLabel())
        let byAddress = code.makeLabel()
        let (sourceReports, destinationReports) = (code.makeLabel(), code.makeLabel())

        branch(layout, withPorts: withPorts, else: withoutPorts)
        code.place(withPorts)
        code.ld(.packet(layout.transport), "both ports")
        code.tax("both ports, to compare with")
        code.rsh(16, "the source port")
        code.mul(0x1_0001, "the source port, twice")
        code.jeqX(then: byAddress, else: .next, "equal ports?")
        code.jgtX(then: .next, else: sourceReports, "lower port?")
        compareEnds(layout, same: sourceReports, else: destinationReports)

        code.place(withoutPorts)
        puntUnreadable(layout, else: byAddress)
        code.place(byAddress)
        compareAddresses(layout, sourceReports, destinationReports)

        // The source's edge reports what comes from its pod, the destination's what goes there.
        code.place(destinationReports)
        branch(toPod: keep, fromPod: drop)
        code.place(sourceReports)
        branch(toPod: drop, fromPod: keep)
    }

    /// Tests whether a packet goes to its own source, which is reported where it enters.
    ///
    /// The last word is tested first: it is the one that differs.
    private mutating func compareEnds(
        _ layout: PacketLayout, same: Label, else different: Label
    ) {
        for word in (0..<layout.family.byteCount / 4).reversed() {
            loadEnds(layout, word)
            code.jeqX(then: word == 0 ? same : .next, else: different, "to itself?")
        }
    }

    private mutating func compareAddresses(
        _ layout: PacketLayout, _ sourceReports: Label, _ destinationReports: Label
    ) {
        let words = 0..<layout.family.byteCount / 4
        for word in words {
            let nextWord = code.makeLabel()
            loadEnds(layout, word)
            code.jeqX(
                then: word == words.last ? sourceReports : nextWord, else: .next, "equal?")
            code.jgtX(then: destinationReports, else: sourceReports, "lower address?")
            code.place(nextWord)
        }
    }

    /// Loads a word of the source into the accumulator, and of the destination into X.
    private mutating func loadEnds(_ layout: PacketLayout, _ word: Int) {
        code.ld(layout.destination.word(word), "destination, word \(word)")
        code.tax("the destination's, to compare with")
        code.ld(layout.source.word(word), "source, word \(word)")
    }

    /// Punts ICMP errors, which quote the packet that they follow, and extension headers.
    ///
    /// Step 8, requests: echo requests and replies are punted as well.
    private mutating func puntUnreadable(_ layout: PacketLayout, else next: Label) {
        let type = Int(layout.transport) + ICMPHeader.type
        switch layout.family {
        case .ipv4:
            code.jeq(layout.asLoaded(IPProtocol.icmp), then: .next, else: next, "ICMP?")
            code.ldb(type, "ICMP type")
            for error in ICMPHeader.errors.reversed() {
                code.jeq(UInt32(error), then: punt, else: .next, "ICMP error?")
            }
            for echo in [ICMPHeader.echoRequest, ICMPHeader.echoReply] {
                code.jeq(UInt32(echo), then: punt, else: .next, "echo?")
            }
            code.ja(next)
        case .ipv6:
            for number in IPv6Extension.numbers.reversed() {
                code.jeq(layout.asLoaded(number), then: punt, else: .next, "extension header?")
            }
            code.jeq(layout.asLoaded(IPProtocol.icmpv6), then: .next, else: next, "ICMPv6?")
            code.ldb(type, "ICMP type")
            // The types of echoes follow those of errors.
            code.jgt(
                UInt32(ICMPHeader.echoReplyV6), then: next, else: punt, "ICMPv6 error or echo?")
        }
    }
}
