import Addressing
package import BPF
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

        /// Where the original's tuple begins.
        static let original: UInt32 = 20
        /// The bytes about a protocol: its number has eight, and so has each port.
        ///
        /// A protocol without ports has its number alone. ICMP has an identifier, a type and a code.
        static let protocolByteCounts: [UInt32] = [8, 24, 32]

        private var addressByteCount: UInt32 { UInt32(family.byteCount) }
        var source: UInt32 { 32 }
        var destination: UInt32 { source + addressByteCount + 4 }

        /// Where the reply's tuple begins, behind as many bytes about the original's protocol.
        func reply(behind protocolByteCount: UInt32) -> UInt32 {
            destination + addressByteCount + 4 + protocolByteCount
        }

        func replySource(_ reply: UInt32) -> UInt32 { reply + 12 }
        func replyDestination(_ reply: UInt32) -> UInt32 { reply + 16 + addressByteCount }
    }

    /// Returns a program that keeps the events of wanted flows.
    ///
    /// It keeps a client's flow as well if the reply's tuple is in none of the usual places: user space
    /// reads messages attribute by attribute.
    package static func program(_ wanted: WantedFlows) -> Program {
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
            for byteCount in Layout.protocolByteCounts {
                write(layout, layout.reply(behind: byteCount), to: &code, drop: drop, keep: keep)
            }
            code.ja(keep)
        }
        code.place(drop)
        code.ret(0, "drop")
        code.place(keep)
        code.ret(.max, "keep")
        return code.program()
    }

    /// Keeps flows that go through a front, if the reply's tuple is where it is in such messages.
    ///
    /// The original's length shows that. What stands in its place in other messages may look like it.
    private static func write(
        _ layout: Layout, _ reply: UInt32, to code: inout Assembler, drop: Assembler.Label,
        keep: Assembler.Label
    ) {
        let (here, next) = (code.makeLabel(), code.makeLabel())
        let isTranslated = code.makeLabel()
        // Both are numbers of the host, which programs load as those of the network.
        let byteCount = UInt16(reply - Layout.original)
        let type = UInt16(CTA_TUPLE_REPLY.rawValue) | UInt16(NLA_F_NESTED)
        code.ldh(Int(Layout.original), "the length of the original's tuple")
        code.jeq(UInt32(byteCount.bigEndian), then: .next, else: next, "does the reply follow?")
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
