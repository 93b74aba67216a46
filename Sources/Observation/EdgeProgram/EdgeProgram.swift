package import Addressing
package import BPF

/// The rule as a program for the kernel, made for one edge.
///
/// It ends in one of three ways: *drop*, *keep*, or *punt*, which leaves the decision to user
/// space. It punts all that is not an ordinary unicast TCP, UDP, SCTP or ICMP packet, and frames
/// that are too short for what it loads: a load from past the end of a frame would drop it. Offsets
/// count from the first byte of the Ethernet header.
package struct EdgeProgram: Equatable, Sendable {
    package let program: Program
    /// Whether the filter and the sample of flows, if there are any, are part of the program.
    ///
    /// If not, they have to run in user space.
    package let includesFilter: Bool

    /// Whether the program decides anything, and does not punt every packet.
    package let decides: Bool

    /// What *punt* returns: more than the longest frame and snaplen, so that *keep* never returns it.
    ///
    /// The kernel makes GSO packets of up to 524,280 bytes (`GSO_MAX_SIZE` of its netdevice.h).
    package static let puntByteCount: UInt32 = (1 << 20) + 1

    /// The program that punts every packet, in one instruction.
    package static let undecided: Self = {
        var code = Assembler()
        code.ret(puntByteCount, "punt to user space")
        return Self(program: code.program(), includesFilter: false, decides: false)
    }()

    private init(program: Program, includesFilter: Bool, decides: Bool) {
        (self.program, self.includesFilter, self.decides) = (program, includesFilter, decides)
    }

    /// Writes the program of an edge.
    ///
    /// If that takes too many instructions, flows and services are left out, then the filter, then
    /// everything. A filter that the kernel would refuse is left out as well, and inside a pod one that
    /// asks for the direction, which the kernel has the other way round there.
    ///
    /// - Parameters:
    ///   - rule: the rule.
    ///   - point: the edge.
    ///   - filter: the client's filter, at which *keep* goes on.
    ///   - snaplen: the number of bytes that *keep* keeps. If nil, frames are kept whole, so that
    ///     user space can give them the form of a wire before it cuts them. Then a filter has to
    ///     keep the same number of bytes of all packets, or it does not run here; and frames are
    ///     punted whose VLAN tag is to be put back before a filter sees them.
    ///   - fronts: what is punted beside services, because this node translates it to pods.
    ///   - dropList: services whose packets are dropped if the client's port is above the one
    ///     given.
    ///   - floods: MAC addresses whose flooded copies are dropped, unless they live behind the edge.
    ///   - selection: what of the packets that *keep* keeps is sent, beside the filter.
    ///   - instructionCountMax: the most instructions that the program may have.
    package init(
        _ rule: Rule, at point: ObservationPoint, filter: Program? = nil, snaplen: UInt32?,
        fronts: Set<ServiceKey> = [], dropList: [ServiceKey: UInt16] = [:],
        floods: Set<MACAddress> = [], selection: FlowSelection = FlowSelection(),
        instructionCountMax: Int = Program.kernelInstructionCountMax
    ) {
        let whole = Self.puntByteCount - 1
        let cutFilter = snaplen.map { filter?.truncating(to: $0) } ?? filter?.keeping(whole)
        let canFilter =
            filter.map { filter in
                filter.isForKernel && (snaplen != nil || filter.keptByteCount != nil)
                    && (point.side == .host || !filter.asksForPlace)
            } ?? true
        var selection = selection
        var services = dropList.sorted { $0.key < $1.key }
        let strangers = floods.filter { rule.owner(of: $0, at: point) == .another }
            .sorted { $0.value < $1.value }
        while canFilter {
            let writer = EdgeProgramWriter(
                rule: rule, point: point, fronts: fronts, services: services, floods: strangers,
                puntsTagged: snaplen == nil && filter != nil)
            let program = writer.program(
                selection, filter: cutFilter, keepByteCount: snaplen ?? whole)
            if program.instructions.count <= instructionCountMax {
                self.init(program: program, includesFilter: true, decides: true)
                return
            }
            if !selection.cutFlows.isEmpty {
                selection.cutFlows.removeLast((selection.cutFlows.count + 1) / 2)
            } else if !services.isEmpty {
                services.removeLast((services.count + 1) / 2)
            } else {
                break
            }
        }
        // A filter that runs in user space has to see the whole packet.
        let writer = EdgeProgramWriter(
            rule: rule, point: point, fronts: fronts, services: [], floods: strangers,
            puntsTagged: false)
        let rest = writer.program(FlowSelection(), filter: nil, keepByteCount: whole)
        let fits = rest.instructions.count <= instructionCountMax
        self =
            fits
            ? Self(
                program: rest, includesFilter: filter == nil && selection.sample == nil,
                decides: true) : .undecided
    }
}

extension EdgeProgram {
    /// Returns the program of a ring that several edges share: it punts their frames, drops others.
    ///
    /// The ring's socket sees all interfaces, and nothing else is decided in the kernel there.
    package static func sharedRing(of interfaceIndexes: [UInt32]) -> Program {
        guard !interfaceIndexes.isEmpty else { return .keepNothing }
        var code = Assembler()
        let (drop, punt) = (code.makeLabel(), code.makeLabel())
        let entries = interfaceIndexes.sorted().map { (words: [$0], label: punt) }
        code.search(entries[...], else: drop, "one of these edges?") { _ in .interfaceIndex }
        code.place(drop)
        code.ret(0, "drop")
        code.place(punt)
        code.ret(puntByteCount, "punt to user space")
        return code.program()
    }
}
