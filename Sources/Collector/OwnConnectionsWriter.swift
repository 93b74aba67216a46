import Addressing
import BPF

/// A writer of the filter that drops the packets of certain connections.
///
/// X holds the length of VLAN tags while addresses are compared, and so does scratch word 0.
struct OwnConnectionsWriter {
    private typealias Ends = [(address: IPAddress, ports: [UInt16])]

    private let form: LinkForm
    private let ends: Ends
    private let dropsFragments: Bool
    private var code = Assembler()
    private let (pass, drop, ipv4, ipv6):
        (
            Assembler.Label, Assembler.Label, Assembler.Label, Assembler.Label
        )

    private static let tagWord: UInt32 = 0
    private static let portWord: UInt32 = 1
    private static let tcp: UInt32 = 6
    private static let udp: UInt32 = 17
    private static let fragmentHeader: UInt32 = 44

    /// Creates a writer for the ends of connections.
    ///
    /// With `dropsFragments` it also drops the later fragments of datagrams to these addresses: they
    /// have no ports, and most are the collector's own.
    init(_ form: LinkForm, _ ports: [IPAddress: Set<UInt16>], dropsFragments: Bool) {
        self.form = form
        self.dropsFragments = dropsFragments
        ends = ports.map { ($0, $1.sorted()) }.sorted { "\($0.address)" < "\($1.address)" }
        var code = Assembler()
        (pass, drop) = (code.makeLabel(), code.makeLabel())
        (ipv4, ipv6) = (code.makeLabel(), code.makeLabel())
        self.code = code
    }

    /// Returns the filter: these packets dropped, and `program` for all others.
    consuming func program(otherwise program: Program) -> Program {
        writeProtocol()
        code.place(ipv4)
        writeIPv4(ends.filter { $0.address.family == .ipv4 })
        code.place(ipv6)
        writeIPv6(ends.filter { $0.address.family == .ipv6 })
        code.place(drop)
        code.ret(0, "the collector's own connection")
        code.place(pass)
        code.emit(program, "the filter that was asked for")
        return code.program()
    }

    /// Goes on at the label of the IP version; other protocols pass.
    private mutating func writeProtocol() {
        setTagByteCount(0)
        switch form.kind {
        case .etherType(let offset): writeEtherType(at: offset)
        case .version:
            code.ldb(0, "IP's version")
            code.and(0xf0, "IP's version")
            code.jeq(0x40, then: ipv4, else: .next, "IPv4")
            code.jeq(0x60, then: ipv6, else: pass, "IPv6")
        case .ipv4: code.ja(ipv4)
        case .ipv6: code.ja(ipv6)
        }
    }

    private mutating func writeEtherType(at offset: UInt32) {
        let known = code.makeLabel()
        // The tag of a provider's network and one inside it.
        let tagCounts: [UInt32] = form.hasTags ? [1, 2] : []
        code.ldh(Int(offset), "EtherType")
        for count in tagCounts {
            let tagged = code.makeLabel()
            code.jeq(0x8100, then: tagged, else: .next, "802.1Q")
            code.jeq(0x88a8, then: tagged, else: known, "802.1ad")
            code.place(tagged)
            setTagByteCount(4 * count)
            code.ldh(Int(offset + 4 * count), "EtherType behind the tag")
        }
        code.place(known)
        code.jeq(0x0800, then: ipv4, else: .next, "IPv4")
        code.jeq(0x86dd, then: ipv6, else: pass, "IPv6")
    }

    private mutating func setTagByteCount(_ count: UInt32) {
        code.emit(Instruction(.loadConstantToX, count), "bytes of VLAN tags")
        code.emit(Instruction(.storeScratchFromX, Self.tagWord), "bytes of VLAN tags")
    }

    private mutating func writeIPv4(_ ends: Ends) {
        guard !ends.isEmpty else { return code.ja(pass) }
        let (ported, fragment) = (code.makeLabel(), code.makeLabel())
        // A load from behind the end would drop the packet.
        requireByteCount(24)
        load(.loadBytePastX, at: 9, "protocol")
        code.jeq(Self.tcp, then: ported, else: .next, "TCP")
        code.jeq(Self.udp, then: ported, else: pass, "UDP")
        code.place(ported)
        load(.loadHalfPastX, at: 6, "fragment")
        code.jset(0x1fff, then: fragment, else: .next, "a later fragment")
        writeEnds(ends, source: 12, destination: 16) { writer in
            writer.load(.loadBytePastX, at: 0, "header length")
            writer.code.and(0x0f, "header length")
            writer.code.lsh(2, "header length in bytes")
            writer.code.emit(Instruction(.add.withX), "and VLAN tags")
            writer.code.tax("the offset of the ports")
            return 0
        }
        code.place(fragment)
        guard dropsFragments else { return code.ja(pass) }
        load(.loadBytePastX, at: 9, "protocol")
        code.jeq(Self.udp, then: .next, else: pass, "UDP")
        writeFragment(ends, destination: 16)
    }

    private mutating func writeIPv6(_ ends: Ends) {
        guard !ends.isEmpty else { return code.ja(pass) }
        let (ported, fragment) = (code.makeLabel(), code.makeLabel())
        requireByteCount(44)
        load(.loadBytePastX, at: 6, "next header")
        code.jeq(Self.tcp, then: ported, else: .next, "TCP")
        code.jeq(Self.udp, then: ported, else: .next, "UDP")
        code.jeq(Self.fragmentHeader, then: fragment, else: pass, "fragment header")
        code.place(ported)
        writeEnds(ends, source: 8, destination: 24) { _ in 40 }
        code.place(fragment)
        guard dropsFragments else { return code.ja(pass) }
        load(.loadBytePastX, at: 40, "the fragment's protocol")
        code.jeq(Self.udp, then: .next, else: pass, "UDP")
        writeFragment(ends, destination: 24)
    }

    /// Drops what comes from one of the ends or goes to it; other packets pass.
    ///
    /// `findPorts` sets X so that the ports are at the offset that it returns.
    private mutating func writeEnds(
        _ ends: Ends, source: UInt32, destination: UInt32,
        _ findPorts: (inout Self) -> UInt32
    ) {
        for end in ends {
            for (isSource, offset) in [(true, source), (false, destination)] {
                let (other, missed) = (code.makeLabel(), code.makeLabel())
                writeAddress(end.address, at: offset, else: other)
                let ports = findPorts(&self)
                load(.loadHalfPastX, at: ports + (isSource ? 0 : 2), "port")
                code.st(Self.portWord, "port")
                let entries = end.ports.map { (words: [UInt32($0)], label: drop) }
                code.search(entries[...], else: missed, "own port") { _ in
                    .scratch(Self.portWord)
                }
                code.place(missed)
                code.emit(Instruction(.loadScratchToX, Self.tagWord), "bytes of VLAN tags")
                code.place(other)
            }
        }
        code.ja(pass)
    }

    private mutating func writeFragment(_ ends: Ends, destination: UInt32) {
        for end in ends {
            let other = code.makeLabel()
            writeAddress(end.address, at: destination, else: other)
            code.ja(drop)
            code.place(other)
        }
        code.ja(pass)
    }

    private mutating func writeAddress(
        _ address: IPAddress, at offset: UInt32, else other: Assembler.Label
    ) {
        for (index, word) in address.words.enumerated() {
            load(.loadWordPastX, at: offset + 4 * UInt32(index), "address")
            code.jeq(word, then: .next, else: other, "\(address)")
        }
    }

    private mutating func requireByteCount(_ count: UInt32) {
        code.ld(.length, "length")
        code.emit(Instruction(.subtract.withX), "without VLAN tags")
        code.jge(form.countedByteCount + count, then: .next, else: pass, "has addresses and ports")
    }

    /// Loads from an offset in the network header.
    private mutating func load(_ opcode: Opcode, at offset: UInt32, _ note: String) {
        code.emit(Instruction(opcode, form.byteCount + offset), note)
    }
}
