import BPF
import PacketRing
import Addressing
import Packets
import Observation

/// The sensor's filter, for packets that the kernel has not shown to it.
struct PacketFilter: Sendable {
    /// Nil lets everything pass.
    let program: Program?
    /// The most that is kept of a packet, bytes.
    let snaplen: Int
    /// How many bytes to keep of a packet that the kernel has shown to the filter.
    let limitInKernel: Int

    init(program: Program?, snaplen: Int) {
        (self.program, self.snaplen) = (program, snaplen)
        limitInKernel = min(snaplen, program?.keptByteCount.map { Int($0) } ?? snaplen)
    }

    /// How many bytes to keep of a packet in the form in which it would be sent; 0 for none of it.
    func byteCount(
        _ bytes: RawSpan, _ details: Packet.Details, at point: ObservationPoint
    ) -> Int {
        guard let program else { return snaplen }
        var ancillary = Ancillary(Direction(isOutgoing: details.isOutgoing))
        ancillary.interfaceIndex = point.interfaceIndex
        if bytes.byteCount >= EthernetHeader.byteCount {
            ancillary.etherType = UInt32(bytes.uint16(at: 12))
        }
        ancillary.wireByteCount = UInt32(clamping: details.wireByteCount)
        if let vlan = details.vlan {
            ancillary.vlanTag = UInt32(vlan.tag)
            ancillary.vlanEtherType = UInt32(vlan.etherType)
        }
        return min(snaplen, Int(program.run(on: bytes, ancillary)))
    }
}

extension Packet.Details {
    /// The same for a frame that has its tag back.
    var withTagInFrame: Self {
        var details = self
        details.vlan = nil
        details.wireByteCount += VLANTag.byteCount
        return details
    }
}
