package import Linux
import Time

extension PacketSender {
    /// Sends a `largePacket`, when the kernel has enough large pieces of memory for it.
    package func sendLarge(_ byteCount: Int) throws(SystemError) {
        let packet = largePacket(byteCount)
        let deadline = MonotonicTime.now + .seconds(30)
        while true {
            do throws(SystemError) {
                return try send(packet)
            } catch {
                guard error.errno == .noBufferSpace, MonotonicTime.now < deadline else {
                    throw error
                }
                _ = try poll([], milliseconds: 10)
            }
        }
    }
}

/// A GSO packet of TCP over IPv6, behind its `virtio_net_hdr`; a device leaves it whole or cuts it.
///
/// Its segments have 1,000 bytes of payload. A device sends it whole if its `gso_max_size` is larger.
///
/// - Parameter byteCount: The length of the frame, at least 74.
/// - Returns: The header and the frame.
func largePacket(_ byteCount: Int) -> [UInt8] {
    let headerByteCount: UInt16 = 74
    let words: [UInt16] = [headerByteCount, 1000, 54, 16]
    var offload: [UInt8] = [1, 4]
    for word in words { offload += [UInt8(word & 0xff), UInt8(word >> 8)] }
    let ethernet: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd]
    // The length field is 0 where it is too short for the length.
    let length = UInt16(exactly: byteCount - 54) ?? 0
    let network: [UInt8] = [0x60, 0, 0, 0, UInt8(length >> 8), UInt8(length & 0xff), 6, 64]
    let addresses = [UInt8](repeating: 0xfd, count: 32)
    let transport: [UInt8] =
        [0, 9, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]
    let headers = ethernet + network + addresses + transport
    return offload + headers
        + (0..<byteCount - headers.count).map { UInt8(truncatingIfNeeded: $0 / 1000) }
}
