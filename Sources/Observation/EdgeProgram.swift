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
    /// Whether the client's filter, if there is one, is part of the program. If not, it has to run
    /// in user space.
    package let includesFilter: Bool

    /// Whether it decides anything. If not, user space settles every packet.
    package let decides: Bool

    /// What *settle* returns. One more than the longest snaplen, so that it can be told from *keep*.
    package static let settleByteCount: UInt32 = 262_145

    /// Leaves everything to user space, in one instruction.
    package static let undecided: Self = {
        var code = Assembler()
        code.prepend(Instruction(.keep, settleByteCount), "user space settles it")
        return Self(program: code.program(), includesFilter: false, decides: false)
    }()

    private init(program: Program, includesFilter: Bool, decides: Bool) {
        (self.program, self.includesFilter, self.decides) = (program, includesFilter, decides)
    }

    /// The program for an edge: *keep* goes on to the client's filter, or keeps `snaplen` bytes.
    /// Packets of a service in the drop list are dropped if the client's port is above the one
    /// given there.
    ///
    /// If all that takes more instructions than there may be, services are left out, then the
    /// filter, and then everything. A filter that the kernel would refuse is left out, too.
    package init(
        _ rule: Rule, at point: ObservationPoint, filter: Program? = nil, snaplen: UInt32,
        dropList: [ServiceKey: UInt16] = [:],
        instructionCountMax: Int = Program.kernelInstructionCountMax
    ) {
        let cut = filter?.truncating(to: snaplen)
        var services = dropList.sorted { $0.key < $1.key }
        while filter?.isForKernel != false {
            let whole = Self.program(rule, point, cut, snaplen, services)
            if whole.instructions.count <= instructionCountMax {
                self.init(program: whole, includesFilter: true, decides: true)
                return
            }
            guard !services.isEmpty else { break }
            services.removeLast((services.count + 1) / 2)
        }
        // A filter that runs in user space has to see the whole packet.
        let rest = Self.program(rule, point, nil, Self.settleByteCount - 1, [])
        let fits = rest.instructions.count <= instructionCountMax
        self =
            fits ? Self(program: rest, includesFilter: filter == nil, decides: true) : .undecided
    }

    private static func program(
        _ rule: Rule, _ point: ObservationPoint, _ filter: Program?, _ snaplen: UInt32,
        _ services: [(key: ServiceKey, value: UInt16)]
    ) -> Program {
        var code = Assembler()
        let keep =
            filter.map { code.prepend($0, "client's filter") }
            ?? code.prepend(Instruction(.keep, snaplen), "keep")
        let settle = code.prepend(Instruction(.keep, settleByteCount), "user space settles it")
        let drop = code.prepend(Instruction(.keep, 0), "drop")
        var writer = EdgeProgramWriter(
            rule: rule, services: services, code: code, keep: keep, settle: settle, drop: drop)
        return writer.write(at: point)
    }
}
