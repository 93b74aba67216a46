package import BPF

import Addressing

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
    package static let puntByteCount: UInt32 = 262_145

    /// Leaves everything to user space, in one instruction.
    package static let undecided: Self = {
        var code = Assembler()
        code.prepend(Instruction(.keep, puntByteCount), "user space settles it")
        return Self(program: code.program(), includesFilter: false, decides: false)
    }()

    private init(program: Program, includesFilter: Bool, decides: Bool) {
        (self.program, self.includesFilter, self.decides) = (program, includesFilter, decides)
    }

    /// The program for an edge: *keep* goes on to the client's filter, or keeps `snaplen` bytes. Without
    /// a snaplen it keeps frames whole, for user space to cut them when it has made of them what a wire
    /// would have carried; then the filter, if it is to run here, has to keep the same amount of all
    /// packets, and does not see frames whose VLAN tag is to be put back.
    /// Packets of a service in the drop list are dropped if the client's port is above the one
    /// given there.
    ///
    /// If all that takes more instructions than there may be, services are left out, then the
    /// filter, and then everything. A filter that the kernel would refuse is left out, too.
    package init(
        _ rule: Rule, at point: ObservationPoint, filter: Program? = nil, snaplen: UInt32?,
        dropList: [ServiceKey: UInt16] = [:],
        instructionCountMax: Int = Program.kernelInstructionCountMax
    ) {
        let whole = Self.puntByteCount - 1
        let cut = snaplen.map { filter?.truncating(to: $0) } ?? filter?.keeping(whole)
        let isForKernel =
            filter.map { $0.isForKernel && (snaplen != nil || $0.keptByteCount != nil) } ?? true
        let settlesTagged = snaplen == nil && filter != nil
        var services = dropList.sorted { $0.key < $1.key }
        while isForKernel {
            let program = Self.program(
                rule, point, cut, snaplen ?? whole, services, settlesTagged: settlesTagged)
            if program.instructions.count <= instructionCountMax {
                self.init(program: program, includesFilter: true, decides: true)
                return
            }
            guard !services.isEmpty else { break }
            services.removeLast((services.count + 1) / 2)
        }
        // A filter that runs in user space has to see the whole packet.
        let rest = Self.program(rule, point, nil, whole, [], settlesTagged: false)
        let fits = rest.instructions.count <= instructionCountMax
        self =
            fits ? Self(program: rest, includesFilter: filter == nil, decides: true) : .undecided
    }

    private static func program(
        _ rule: Rule, _ point: ObservationPoint, _ filter: Program?, _ snaplen: UInt32,
        _ services: [(key: ServiceKey, value: UInt16)], settlesTagged: Bool
    ) -> Program {
        var code = Assembler()
        let keep =
            filter.map { code.prepend($0, "client's filter") }
            ?? code.prepend(Instruction(.keep, snaplen), "keep")
        let settle = code.prepend(Instruction(.keep, puntByteCount), "user space settles it")
        let drop = code.prepend(Instruction(.keep, 0), "drop")
        var writer = EdgeProgramWriter(
            rule: rule, services: services, settlesTagged: settlesTagged, code: code, keep: keep,
            settle: settle, drop: drop)
        return writer.write(at: point)
    }
}

extension EdgeProgram {
    /// Returns the program of a ring that several edges share: it punts their frames, drops others.
    ///
    /// The ring's socket sees all interfaces. Nothing else is decided in the kernel there.
    package static func sharedRing(of interfaceIndexes: [UInt32]) -> Program {
        var code = Assembler()
        let punt = code.prepend(Instruction(.keep, puntByteCount), "punt to user space")
        let drop = code.prepend(Instruction(.keep, 0), "drop")
        guard !interfaceIndexes.isEmpty else { return .keepNothing }
        let entries = interfaceIndexes.sorted().map { (words: [$0], height: punt) }
        _ = code.search(entries[...], else: drop, "one of these edges?") { _ in
            Instruction(.loadWord, Ancillary.interfaceIndexOffset)
        }
        return code.program()
    }
}
