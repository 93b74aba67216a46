import Addressing

/// The classic pcap format (pcap-savefile(5)), little-endian, with times in nanoseconds.
///
/// Its header has the one link type and the one snap length of all packets. It says nothing of
/// interfaces, so their packets cannot be told apart.
package struct PcapEncoder: CaptureEncoder {
    package init() {}

    package var fileExtension: String { "pcap" }

    package var describesInterfaces: Bool { false }

    /// Begins with the header, which waits for the link type of the first interface.
    package func appendSection(to bytes: inout [UInt8], application: String) {}

    package func appendInterface(_ interface: CaptureInterface, to bytes: inout [UInt8]) {
        bytes.append(littleEndian: Self.magic)
        bytes.append(littleEndian: Self.version.major)
        bytes.append(littleEndian: Self.version.minor)
        // The time zone and the accuracy, which nobody writes.
        bytes.append(littleEndian: UInt64(0))
        bytes.append(littleEndian: UInt32(clamping: interface.snaplen))
        bytes.append(littleEndian: UInt32(interface.linkType))
    }

    package func appendPacket(
        _ packet: CapturedPacket, _ frame: RawSpan, to bytes: inout [UInt8]
    ) {
        let (seconds, nanoseconds) = packet.nanoseconds.quotientAndRemainder(
            dividingBy: 1_000_000_000)
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: seconds))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: nanoseconds))
        bytes.append(littleEndian: UInt32(frame.byteCount))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: packet.wireByteCount))
        bytes.append(contentsOf: frame)
    }

    package func appendStatistics(
        _ statistics: InterfaceStatistics, to bytes: inout [UInt8]
    ) {}

    package var packetByteCountMax: Int { Self.recordHeaderByteCount }

    package var statisticsByteCount: Int { 0 }

    package func wholePart(
        of bytes: [UInt8], byteCountMax: Int, isBeginning: Bool
    ) -> WholePart {
        var whole = WholePart()
        if isBeginning {
            guard byteCountMax >= Self.headerByteCount else { return whole }
            whole.byteCount = Self.headerByteCount
        }
        while whole.byteCount + Self.recordHeaderByteCount <= byteCountMax {
            let length = bytes[(whole.byteCount + 8)...].prefix(4)
            let frameByteCount = length.reversed().reduce(0) { $0 << 8 | Int($1) }
            let end = whole.byteCount + Self.recordHeaderByteCount + frameByteCount
            guard end <= byteCountMax else { break }
            whole.byteCount = end
            whole.packetCount += 1
        }
        return whole
    }

    private static let headerByteCount = 24
    private static let recordHeaderByteCount = 16

    /// The mark of times in nanoseconds.
    private static let magic: UInt32 = 0xa1b2_3c4d
    private static let version: (major: UInt16, minor: UInt16) = (2, 4)
}
