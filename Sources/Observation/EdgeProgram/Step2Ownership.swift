import Addressing
import BPF
import Packets

/// Step 2, ownership: a frame to the pod has the pod's address, or is a flooded copy.
extension EdgeProgramWriter {
    /// Drops flooded copies, and falls through for all other unicast frames.
    mutating func writeOwnership(at point: ObservationPoint) {
        let isOurs = code.makeLabel()
        if let mac = point.podMAC {
            let (toPod, fromPod, isOther) = (code.makeLabel(), code.makeLabel(), code.makeLabel())
            branch(toPod: toPod, fromPod: fromPod)
            code.place(toPod)
            let start = EthernetHeader.destination
            code.ld(.packet(UInt32(start) + 2), "destination MAC, the rest")
            code.jeq(
                UInt32(mac.value & 0xffff_ffff), then: .next, else: isOther, "to the pod's \(mac)?")
            code.ldh(start, "destination MAC, first half")
            code.jeq(UInt32(mac.value >> 32), then: isOurs, else: .next, "to the pod's \(mac)?")
            code.place(isOther)
            puntGroup(else: drop)
            code.place(fromPod)
        }
        puntGroup(else: isOurs)
        code.place(isOurs)
    }

    /// Step 3, group frames: they are punted.
    private mutating func puntGroup(else next: Label) {
        code.ldb(EthernetHeader.destination, "destination MAC, first byte")
        code.jset(UInt32(EthernetHeader.groupBit), then: punt, else: next, "to a group?")
    }
}
