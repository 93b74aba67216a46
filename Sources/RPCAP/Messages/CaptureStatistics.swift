import Addressing

/// The counts in a STATS reply, since the start of the capture and modulo 2^32.
package struct CaptureStatistics: Equatable, Sendable {
    /// Packets that passed the filter, including those that were dropped afterwards.
    package var received: UInt32
    /// Packets dropped by the interface.
    package var droppedByInterface: UInt32
    /// Packets dropped for lack of buffer.
    package var droppedByKernel: UInt32
    /// Packets that the server has sent.
    package var sent: UInt32

    package init(
        received: UInt32 = 0, droppedByInterface: UInt32 = 0, droppedByKernel: UInt32 = 0,
        sent: UInt32 = 0
    ) {
        self.received = received
        self.droppedByInterface = droppedByInterface
        self.droppedByKernel = droppedByKernel
        self.sent = sent
    }

    static let byteCount = 16

    init(_ bytes: RawSpan) {
        received = bytes.uint32(at: 0)
        droppedByInterface = bytes.uint32(at: 4)
        droppedByKernel = bytes.uint32(at: 8)
        sent = bytes.uint32(at: 12)
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        for count in [received, droppedByInterface, droppedByKernel, sent] {
            bytes.append(bigEndian: count)
        }
        return bytes
    }
}
