import Observation
import PacketRing

/// What the pipeline must know of the ring that a block comes from.
///
/// A class, since one for each edge lasts, and to copy a value retains all that it names.
final class EdgeContext {
    /// The edges whose packets the ring holds.
    enum Source {
        case edge(ObservationPoint)
        /// Several edges, by the indexes of their interfaces.
        case edges([UInt32: ObservationPoint])
    }

    /// What the kernel has done with the rule.
    enum ProgramRole {
        /// It has decided about every packet, but for those that it marks.
        case decides
        /// It leaves every packet to user space.
        case punts
    }

    /// Where the sensor's filter runs.
    enum FilterSite {
        case inKernel
        /// In user space.
        case here
    }

    let source: Source
    /// The index of the edge if its ring is inside the pod, where the kernel has another one; else nil.
    let edgeOfPodSide: UInt32?
    /// The MAC addresses of the edge, if the ring is that of one edge.
    let macs: EdgeMACs
    /// Counts what becomes of the packets.
    let counters: EdgeTally
    let program: ProgramRole
    let filter: FilterSite
    /// Knows the packets that have come out of the ring that this one replaces; nil if there are none.
    let replacement: RingReplacement?

    init(
        source: Source, counters: EdgeTally, program: ProgramRole, filter: FilterSite,
        replacement: RingReplacement? = nil
    ) {
        (self.source, self.counters) = (source, counters)
        (self.program, self.filter, self.replacement) = (program, filter, replacement)
        switch source {
        case .edge(let point):
            macs = EdgeMACs(point)
            edgeOfPodSide = point.side == .pod ? point.interfaceIndex : nil
        case .edges:
            // No packet of several edges takes the fast path, nor is one seen inside a pod.
            macs = EdgeMACs()
            edgeOfPodSide = nil
        }
    }

    /// Whether most packets need nothing but to be copied.
    var hasFastPath: Bool { program == .decides && filter == .inKernel && replacement == nil }

    /// The edge at which a packet was seen; nil if the capture does not know it.
    func point(ofInterface index: UInt32) -> ObservationPoint? {
        switch source {
        case .edge(let point): point
        case .edges(let points): points[index]
        }
    }
}

/// Packets as the host's end of the pair has them, wherever they were captured.
///
/// What is kept of a packet so stays right when its edge is captured at the other end.
extension EdgeContext {
    /// Whether a packet goes to the pod.
    @inline(__always)
    func isToPod(_ packet: borrowing RingPacket) -> Bool {
        packet.isOutgoing == (edgeOfPodSide == nil)
    }

    /// Takes a packet of a ring that replaces another one.
    ///
    /// - Returns: Whether it came out of the other ring before.
    func consumesDuplicate(_ packet: borrowing RingPacket) -> Bool {
        guard let replacement else { return false }
        return replacement.consume(replacement.identity(of: packet))
    }

    /// The index of the edge at which a packet was seen.
    func interfaceIndex(of packet: borrowing RingPacket) -> UInt32 {
        edgeOfPodSide ?? packet.interfaceIndex
    }

    /// A packet with all its details.
    @_lifetime(copy packet)
    func packet(_ packet: RingPacket, isCutByBlock: Bool = false) -> Packet {
        let whole = packet.packet(isCutByBlock: isCutByBlock)
        guard let edgeOfPodSide else { return whole }
        return Packet(whole.details.seenFromHost(at: edgeOfPodSide), packet.bytes)
    }
}
