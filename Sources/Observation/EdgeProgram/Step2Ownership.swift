import Addressing
import BPF
import Packets

/// Step 2, ownership: a frame to the pod has one of its MAC addresses, or may be a flooded copy.
///
/// Inside the pod, the kernel has compared the destination with the address of the pod's interface.
extension EdgeProgramWriter {
    /// Punts frames to unknown MAC addresses, and falls through for all other unicast frames.
    ///
    /// Copies that were flooded again and again are dropped (`FloodDropList`).
    mutating func writeOwnership(at point: ObservationPoint) {
        let isOurs = code.makeLabel()
        if let mac = point.podMAC, point.bridge != nil {
            let (toPod, fromPod, isOther) = (code.makeLabel(), code.makeLabel(), code.makeLabel())
            branch(toPod: toPod, fromPod: fromPod)
            code.place(toPod)
            if point.side == .pod {
                // The packet type is still in the accumulator.
                code.jeq(Ancillary.toHost, then: isOurs, else: .next, "to the pod itself?")
            }
            let own = [mac] + point.otherMACs
            testMAC(at: EthernetHeader.destination, own.map { ($0, isOurs) }, else: isOther)
            code.place(isOther)
            let isStranger = code.makeLabel()
            puntGroup(else: isStranger)
            code.place(isStranger)
            let strangers = floods.filter { !own.contains($0) }
            testMAC(at: EthernetHeader.destination, strangers.map { ($0, drop) }, else: punt)
            code.place(fromPod)
        }
        puntGroup(else: isOurs)
        code.place(isOurs)
    }

    /// Keeps a packet of which not both ends are pods, unless two edges of one bridge see it.
    ///
    /// What the bridge itself sends to the pod passes no other edge. Anything else may come from
    /// another pod, whose edge reports it; user space knows.
    mutating func writeKeep(at point: ObservationPoint) {
        guard rule.deduplicates, point.bridge != nil, let mac = point.bridgeMAC else {
            return code.ja(keep)
        }
        let toPod = code.makeLabel()
        branch(toPod: toPod, fromPod: keep)
        code.place(toPod)
        testMAC(at: EthernetHeader.source, [(mac, keep)], else: punt)
    }

    /// Goes on at the label of the MAC address at an offset.
    ///
    /// The last four bytes are tested first: they are the ones that differ.
    private mutating func testMAC(
        at offset: Int, _ targets: [(mac: MACAddress, label: Label)], else no: Label
    ) {
        let entries = targets.map { mac, label in
            (words: [UInt32(mac.value & 0xffff_ffff), UInt32(mac.value >> 32)], label: label)
        }.sorted { $0.words.lexicographicallyPrecedes($1.words) }
        guard !entries.isEmpty else { return code.ja(no) }
        code.search(entries[...], else: no, "MAC") { word in
            word == 0 ? .packet(UInt32(offset) + 2) : .half(UInt32(offset))
        }
    }

    /// Step 3, group frames: they are punted.
    private mutating func puntGroup(else next: Label) {
        code.ldb(EthernetHeader.destination, "destination MAC, first byte")
        code.jset(UInt32(EthernetHeader.groupBit), then: punt, else: next, "to a group?")
    }
}
