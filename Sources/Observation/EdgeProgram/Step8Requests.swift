import BPF
import Packets

/// Step 8, requests: what asks for an answer, or is one, is punted.
///
/// Echoes are in `Step6ObservedEnd`, beside the ICMP errors.
extension EdgeProgramWriter {
    /// Punts TCP segments with SYN or RST, and those that are cut before their flags.
    mutating func puntOpening(_ layout: PacketLayout, else next: Label) {
        let flags = layout.transport + UInt32(TCPHeader.flags)
        code.ld(.length, "how much of the frame there is")
        code.jge(flags + 1, then: .next, else: punt, "holds TCP's flags?")
        code.ldb(Int(flags), "TCP's flags")
        code.jset(UInt32(TCPHeader.openingFlags), then: punt, else: next, "SYN or RST?")
    }
}
