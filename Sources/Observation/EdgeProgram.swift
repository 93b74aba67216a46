package import BPF

import Frames

/// The rule as a program for the kernel, made for one edge.
///
/// It has three ends: *drop*, *keep*, and *settle*, which hands the frame to user space undecided.
/// Whatever is not an ordinary unicast TCP, UDP, SCTP or ICMP packet goes there, and so does what
/// may be cut short: a load from behind the end of a frame would drop it. Offsets count from the
/// first byte of the Ethernet header.
package struct EdgeProgram: Equatable, Sendable {
    package let program: Program
    /// Whether the client's filter is part of the program. If not, it has to run in user space.
    package let includesFilter: Bool

    /// What *settle* returns. One more than the longest snaplen, so that it can be told from *keep*.
    package static let settleByteCount: UInt32 = 262_145

    /// The program for an edge: *keep* goes on to the client's filter, or keeps `snaplen` bytes.
    /// Packets of a service in the drop list are dropped if the client's port is above the one
    /// given there. If all that does not fit the kernel, first the drop list is left out, then the
    /// filter.
    package init(
        _ rule: Rule, at point: ObservationPoint, filter: Program? = nil, snaplen: UInt32,
        dropList: [ServiceKey: UInt16] = [:]
    ) {
        let cut = filter?.truncating(to: snaplen)
        var whole = Self.program(rule, point, cut, snaplen, dropList)
        if !whole.fitsKernel { whole = Self.program(rule, point, cut, snaplen, [:]) }
        includesFilter = filter != nil && whole.fitsKernel
        // A filter that runs in user space has to see the whole packet.
        program =
            whole.fitsKernel
            ? whole : Self.program(rule, point, nil, Self.settleByteCount - 1, dropList)
    }

    private static func program(
        _ rule: Rule, _ point: ObservationPoint, _ filter: Program?, _ snaplen: UInt32,
        _ dropList: [ServiceKey: UInt16]
    ) -> Program {
        var code = Assembler()
        let keep =
            filter.map { code.prepend($0, "client's filter") }
            ?? code.prepend(Instruction(.keep, snaplen), "keep")
        let settle = code.prepend(Instruction(.keep, settleByteCount), "user space settles it")
        let drop = code.prepend(Instruction(.keep, 0), "drop")
        var writer = EdgeProgramWriter(
            rule: rule, dropList: dropList, code: code, keep: keep, settle: settle, drop: drop)
        return writer.write(at: point)
    }
}
