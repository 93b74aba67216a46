import Addressing
import Packets

extension Offload {
    /// The `virtio_net_hdr` that says so.
    var bytes: [UInt8] {
        var type: UInt8 =
            switch segmentation {
            case .none: 0
            case .tcpOverIPv4: 1
            case .tcpOverIPv6: 4
            case .udp: 5
            case .other(let type): type
            }
        if isCongestionReduced { type |= 0x80 }
        let words = [headerByteCount, segmentByteCount, checksumStart, checksumOffset]
        // Numbers are in the machine's byte order.
        return [needsChecksum ? 1 : 0, type]
            + words.flatMap { word in
                var bytes: [UInt8] = []
                bytes.append(bigEndian: word.bigEndian)
                return bytes
            }
    }
}
