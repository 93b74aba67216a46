import Addressing

/// Blocks of a pcapng file (draft-ietf-opsawg-pcapng), in this machine's byte order, little-endian.
///
/// Times are nanoseconds since 1970. Each function answers one whole block.
package enum Pcapng {
    enum BlockType {
        static let section: UInt32 = 0x0a0d_0d0a
        static let interface: UInt32 = 1
        static let statistics: UInt32 = 5
        static let packet: UInt32 = 6
    }

    private enum OptionCode {
        static let end: UInt16 = 0
        static let sectionApplication: UInt16 = 4
        static let interfaceName: UInt16 = 2
        static let interfaceDescription: UInt16 = 3
        static let interfaceTimeResolution: UInt16 = 9
        static let statisticsStart: UInt16 = 2
        static let statisticsEnd: UInt16 = 3
        static let statisticsReceived: UInt16 = 4
        static let statisticsDropped: UInt16 = 5
        static let statisticsDroppedBySystem: UInt16 = 7
        static let statisticsDelivered: UInt16 = 8
    }

    /// LINKTYPE_ETHERNET.
    package static let ethernet: UInt16 = 1
    private static let byteOrderMagic: UInt32 = 0x1a2b_3c4d

    static func section(application: String) -> [UInt8] {
        var body: [UInt8] = []
        body.append(littleEndian: byteOrderMagic)
        body.append(littleEndian: UInt16(1))
        body.append(littleEndian: UInt16(0))
        // The length of the section is not known yet.
        body.append(littleEndian: UInt64.max)
        body += option(OptionCode.sectionApplication, Array(application.utf8)) + endOfOptions
        return block(BlockType.section, body)
    }

    static func interface(
        name: String, description: String, snaplen: Int, linkType: UInt16
    ) -> [UInt8] {
        var body: [UInt8] = []
        body.append(littleEndian: linkType)
        body.append(littleEndian: UInt16(0))
        body.append(littleEndian: UInt32(snaplen))
        body += option(OptionCode.interfaceName, Array(name.utf8))
        body += option(OptionCode.interfaceDescription, Array(description.utf8))
        // 10^-9 seconds.
        body += option(OptionCode.interfaceTimeResolution, [9]) + endOfOptions
        return block(BlockType.interface, body)
    }

    /// Appends a packet to bytes that are on their way to the file, without a copy in between.
    static func appendPacket(
        to bytes: inout [UInt8], interface: Int, nanoseconds: UInt64, wireByteCount: Int,
        _ frame: RawSpan
    ) {
        let padding = (4 - frame.byteCount & 3) & 3
        let byteCount = UInt32(32 + frame.byteCount + padding)
        bytes.append(littleEndian: BlockType.packet)
        bytes.append(littleEndian: byteCount)
        bytes.append(littleEndian: UInt32(interface))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: nanoseconds >> 32))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: nanoseconds))
        bytes.append(littleEndian: UInt32(frame.byteCount))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: wireByteCount))
        bytes.append(contentsOf: frame)
        bytes.append(contentsOf: repeatElement(0, count: padding))
        bytes.append(littleEndian: byteCount)
    }

    static func statistics(
        interface: Int, start: UInt64, end: UInt64, _ counts: InterfaceCounts
    ) -> [UInt8] {
        var body: [UInt8] = []
        body.append(littleEndian: UInt32(interface))
        body += time(end)
        body += option(OptionCode.statisticsStart, time(start))
        body += option(OptionCode.statisticsEnd, time(end))
        body += option(OptionCode.statisticsReceived, number(counts.received))
        body += option(OptionCode.statisticsDropped, number(counts.droppedByInterface))
        body += option(OptionCode.statisticsDroppedBySystem, number(counts.droppedByKernel))
        body += option(OptionCode.statisticsDelivered, number(counts.delivered)) + endOfOptions
        return block(BlockType.statistics, body)
    }

    private static func block(_ type: UInt32, _ body: [UInt8]) -> [UInt8] {
        let byteCount = UInt32(12 + body.count)
        var bytes: [UInt8] = []
        bytes.append(littleEndian: type)
        bytes.append(littleEndian: byteCount)
        bytes += body
        bytes.append(littleEndian: byteCount)
        return bytes
    }

    private static let endOfOptions: [UInt8] = [0, 0, 0, 0]

    private static func option(_ code: UInt16, _ value: [UInt8]) -> [UInt8] {
        let value = value.prefix(Int(UInt16.max) - 3)
        var bytes: [UInt8] = []
        bytes.append(littleEndian: code)
        bytes.append(littleEndian: UInt16(value.count))
        bytes += value
        return bytes + repeatElement(0, count: (4 - value.count & 3) & 3)
    }

    /// A time as blocks have it: the high half first.
    private static func time(_ nanoseconds: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: nanoseconds >> 32))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: nanoseconds))
        return bytes
    }

    private static func number(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: value)
        return bytes
    }
}

/// What an interface statistics block says.
package struct InterfaceCounts: Equatable, Sendable {
    package var received: UInt64 = 0
    package var droppedByInterface: UInt64 = 0
    package var droppedByKernel: UInt64 = 0
    package var delivered: UInt64 = 0

    package init() {}

    /// What has been counted since an earlier reading.
    package func since(_ earlier: Self) -> Self {
        var counts = self
        counts.received &-= earlier.received
        counts.droppedByInterface &-= earlier.droppedByInterface
        counts.droppedByKernel &-= earlier.droppedByKernel
        counts.delivered &-= earlier.delivered
        return counts
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func append(littleEndian value: some FixedWidthInteger) {
        for shift in stride(from: 0, to: value.bitWidth, by: 8) {
            append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }
}
