import Addressing
import BPF
import Observation
import PacketRing
import Packets

/// The sensor's filter as user space runs it, on packets that it has not seen in the kernel.
struct PacketFilter: Sendable {
    /// Nil lets everything pass.
    let program: Program?
    /// The most bytes that are kept of a packet.
    let snaplen: Int
    /// The number of bytes to keep of a packet that the kernel has shown to the filter.
    let limitInKernel: Int

    init(program: Program?, snaplen: Int) {
        // A program of one instruction keeps all packets alike, so it need not run.
        let isConstant = program.map { $0.instructions.count == 1 && $0.keptByteCount ?? 0 > 0 }
        self.program = isConstant == true ? nil : program
        self.snaplen = snaplen
        limitInKernel = min(snaplen, program?.keptByteCount.map { Int($0) } ?? snaplen)
    }

    /// The number of bytes to keep of a packet, given in the form in which it is sent; 0 for none.
    func byteCount(
        _ bytes: RawSpan, _ details: Packet.Details, at interfaceIndex: UInt32
    ) -> Int {
        guard let program else { return limitInKernel }
        var ancillary = Ancillary(Direction(isOutgoing: details.isOutgoing))
        ancillary.interfaceIndex = interfaceIndex
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
    /// The details once the VLAN tag is back in the frame.
    var withTagInFrame: Self {
        var details = self
        details.vlan = nil
        details.wireByteCount += VLANTag.byteCount
        return details
    }
}
