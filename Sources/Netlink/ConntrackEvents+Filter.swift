import Addressing
import BPF
import CMnl
import Glibc
import Packets

/// The filter of a subscription.
extension ConntrackEvents {
    /// The offsets of what the filter reads of a new flow's message, in one family.
    ///
    /// The message begins with its header and the family. The original tuple follows, behind an
    /// attribute's header of four bytes: its addresses, each behind such a header, and its protocol.
    /// Then comes the reply's tuple.
    private struct Layout {
        let family: IPAddress.Family

        private var addressByteCount: UInt32 { UInt32(family.byteCount) }
        var source: UInt32 { 32 }
        var destination: UInt32 { source + addressByteCount + 4 }

        /// Where the reply's tuple begins.
        ///
        /// A protocol has its number and two ports in eight bytes each; ICMP has an identifier, a type
        /// and a code instead of ports.
        func reply(isICMP: Bool) -> UInt32 {
            destination + addressByteCount + 4 + (isICMP ? 32 : 24)
        }

        func replySource(_ reply: UInt32) -> UInt32 { reply + 12 }
        func replyDestination(_ reply: UInt32) -> UInt32 { reply + 16 + addressByteCount }
    }

    /// Returns a program that keeps the events of wanted flows.
    ///
    /// It keeps a client's flow as well if the reply's tuple is in none of the usual places: user space
    /// reads messages attribute by attribute.
    static func program(_ wanted: WantedFlows) -> Program {
        var code = Assembler()
        let (ipv4, ipv6) = (code.makeLabel(), code.makeLabel())
        let (drop, keep) = (code.makeLabel(), code.makeLabel())
        code.ldb(16, "the address family")
        code.jeq(UInt32(AF_INET), then: ipv4, else: .next, "IPv4?")
        code.jeq(UInt32(AF_INET6), then: ipv6, else: drop, "IPv6?")
        for (label, family) in [(ipv4, IPAddress.Family.ipv4), (ipv6, .ipv6)] {
            code.place(label)
            let layout = Layout(family: family)
            code.test(
                .packet(layout.destination), inside: wanted.towards.filter { $0.family == family },
                then: keep, else: .next, "service")
            code.test(
                .packet(layout.source),
                inside: wanted.throughFrontsFrom.filter { $0.family == family }, then: .next,
                else: drop, "client")
            write(layout, isICMP: false, to: &code, drop: drop, keep: keep)
            write(layout, isICMP: true, to: &code, drop: drop, keep: keep)
            code.ja(keep)
        }
        code.place(drop)
        code.ret(0, "drop")
        code.place(keep)
        code.ret(.max, "keep")
        return code.program()
    }

    /// Keeps flows that go through a front, if the reply's tuple is where it is in such messages.
    private static func write(
        _ layout: Layout, isICMP: Bool, to code: inout Assembler, drop: Assembler.Label,
        keep: Assembler.Label
    ) {
        let reply = layout.reply(isICMP: isICMP)
        let (here, next) = (code.makeLabel(), code.makeLabel())
        let isTranslated = code.makeLabel()
        // The type is a number of the host, which programs load as one of the network.
        let type = UInt16(CTA_TUPLE_REPLY.rawValue) | UInt16(NLA_F_NESTED)
        code.ldh(Int(reply) + 2, "the attribute's type")
        code.jeq(UInt32(type.bigEndian), then: here, else: next, "the reply?")
        code.place(here)
        let words = 0..<UInt32(layout.family.byteCount / 4)
        for word in words {
            code.ld(.packet(layout.destination + 4 * word), "what is called, word \(word)")
            code.tax("what is called")
            code.ld(.packet(layout.replySource(reply) + 4 * word), "who answers, word \(word)")
            code.jeqX(
                then: word == words.last ? drop : .next, else: isTranslated, "is it the same?")
        }
        code.place(isTranslated)
        for word in words {
            code.ld(.packet(layout.source + 4 * word), "who calls, word \(word)")
            code.tax("who calls")
            code.ld(
                .packet(layout.replyDestination(reply) + 4 * word), "who is answered, word \(word)")
            code.jeqX(then: word == words.last ? keep : .next, else: drop, "is it the same?")
        }
        code.place(next)
    }
}
