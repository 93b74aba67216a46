import Addressing

/// The pcapng format (draft-ietf-opsawg-pcapng), little-endian, with times in microseconds.
///
/// RPCAP has no finer ones.
package struct PcapngEncoder: CaptureEncoder {
    package init() {}

    package var fileExtension: String { "pcapng" }

    package var describesInterfaces: Bool { true }

    package func appendSection(to bytes: inout [UInt8], application: String) {
        Self.appendBlock(.section, to: &bytes) { body in
            body.append(littleEndian: Self.byteOrderMagic)
            body.append(littleEndian: UInt16(1))
            body.append(littleEndian: UInt16(0))
            // The length of the section is not known yet.
            body.append(littleEndian: UInt64.max)
            Self.append(.sectionApplication, Array(application.utf8), to: &body)
            Self.appendEndOfOptions(to: &body)
        }
    }

    package func appendInterface(_ interface: CaptureInterface, to bytes: inout [UInt8]) {
        Self.appendBlock(.interface, to: &bytes) { body in
            body.append(littleEndian: interface.linkType)
            body.append(littleEndian: UInt16(0))
            body.append(littleEndian: UInt32(interface.snaplen))
            Self.append(.interfaceName, Array(interface.name.utf8), to: &body)
            Self.append(.interfaceDescription, Array(interface.description.utf8), to: &body)
            // 10^-6 seconds.
            Self.append(.interfaceTimeResolution, [6], to: &body)
            if let filter = interface.filter { Self.append(filter, to: &body) }
            Self.appendEndOfOptions(to: &body)
        }
    }

    package func appendPacket(
        _ packet: CapturedPacket, _ frame: RawSpan, to bytes: inout [UInt8]
    ) {
        Self.appendBlock(.packet, to: &bytes) { bytes in
            bytes.append(littleEndian: UInt32(packet.interface))
            Self.append(time: packet.nanoseconds, to: &bytes)
            bytes.append(littleEndian: UInt32(frame.byteCount))
            bytes.append(littleEndian: UInt32(truncatingIfNeeded: packet.wireByteCount))
            bytes.append(contentsOf: frame)
            bytes.append(contentsOf: repeatElement(0, count: Self.padding(frame.byteCount)))
            if let comment = packet.comment {
                Self.append(.comment, Array(comment.utf8), to: &bytes)
                Self.appendEndOfOptions(to: &bytes)
            }
        }
    }

    package func appendNames(_ names: [AddressName], to bytes: inout [UInt8]) {
        var rest = names[...]
        while !rest.isEmpty {
            Self.appendBlock(.names, to: &bytes) { body in
                for name in rest.prefix(Self.nameCountPerBlock) { Self.append(name, to: &body) }
                // nrb_record_end.
                body.append(littleEndian: UInt32(0))
            }
            rest = rest.dropFirst(Self.nameCountPerBlock)
        }
    }

    package func appendStatistics(
        _ statistics: InterfaceStatistics, to bytes: inout [UInt8]
    ) {
        let counts = statistics.counts
        Self.appendBlock(.statistics, to: &bytes) { body in
            body.append(littleEndian: UInt32(statistics.interface))
            Self.append(time: statistics.end, to: &body)
            Self.append(.statisticsStart, Self.option(time: statistics.start), to: &body)
            Self.append(.statisticsEnd, Self.option(time: statistics.end), to: &body)
            Self.append(.statisticsReceived, Self.option(counts.received), to: &body)
            Self.append(.statisticsDropped, Self.option(counts.droppedByInterface), to: &body)
            Self.append(.statisticsDroppedBySystem, Self.option(counts.droppedByKernel), to: &body)
            Self.append(.statisticsDelivered, Self.option(counts.delivered), to: &body)
            Self.appendEndOfOptions(to: &body)
        }
    }

    /// A block's head and end, the packet's fields, padding, and the ends of two options.
    package var packetByteCountMax: Int { 48 }

    package var statisticsByteCount: Int { 100 }

    package func wholePart(
        of bytes: [UInt8], byteCountMax: Int, isBeginning: Bool
    ) -> WholePart {
        var whole = WholePart()
        while whole.byteCount + 8 <= byteCountMax {
            let head = bytes[whole.byteCount...].prefix(8)
            func number(at offset: Int) -> UInt32 {
                head.dropFirst(offset).prefix(4).reversed().reduce(0) { $0 << 8 | UInt32($1) }
            }
            let end = whole.byteCount + Int(number(at: 4))
            guard end <= byteCountMax else { break }
            whole.byteCount = end
            if number(at: 0) == BlockType.packet.rawValue { whole.packetCount += 1 }
        }
        return whole
    }
}

extension PcapngEncoder {
    private enum BlockType: UInt32 {
        case section = 0x0a0d_0d0a
        case interface = 1
        /// Names of addresses (4.5).
        case names = 4
        case statistics = 5
        case packet = 6
    }

    /// An option's code, which means something only in its own type of block.
    private struct OptionCode {
        let value: UInt16

        static let comment = Self(value: 1)
        static let sectionApplication = Self(value: 4)
        static let interfaceName = Self(value: 2)
        static let interfaceDescription = Self(value: 3)
        static let interfaceTimeResolution = Self(value: 9)
        static let interfaceFilter = Self(value: 11)
        static let statisticsStart = Self(value: 2)
        static let statisticsEnd = Self(value: 3)
        static let statisticsReceived = Self(value: 4)
        static let statisticsDropped = Self(value: 5)
        static let statisticsDroppedBySystem = Self(value: 7)
        static let statisticsDelivered = Self(value: 8)
    }

    /// Names in a block, whose length readers bound: tshark by 16 MiB.
    private static let nameCountPerBlock = 1000
    /// The longest name that is written, the longest of a host (RFC 1035, 2.3.4).
    private static let nameByteCountMax = 253

    /// Appends a record of a block of names: the address, the name, a zero byte.
    private static func append(_ name: AddressName, to bytes: inout [UInt8]) {
        let address = name.address.bytes
        let text = name.name.utf8.prefix(nameByteCountMax).filter { $0 != 0 }
        let byteCount = address.count + text.count + 1
        bytes.append(littleEndian: UInt16(name.address.family == .ipv4 ? 1 : 2))
        bytes.append(littleEndian: UInt16(byteCount))
        bytes += address + text
        bytes.append(contentsOf: repeatElement(0, count: 1 + padding(byteCount)))
    }

    /// Appends a filter, whose first byte says which form it has; one that is too long is left out.
    private static func append(_ filter: CaptureFilter, to bytes: inout [UInt8]) {
        var value: [UInt8] = []
        switch filter {
        case .text(let text): value = [0] + text.utf8
        case .program(let instructions):
            value.append(1)
            for instruction in instructions { value.append(littleEndian: instruction) }
        }
        if value.count <= optionByteCountMax { append(.interfaceFilter, value, to: &bytes) }
    }

    private static let byteOrderMagic: UInt32 = 0x1a2b_3c4d
    /// The longest option whose padding fits its 16 bits, too.
    private static let optionByteCountMax = Int(UInt16.max) - 3

    /// Appends a block with its length in front of `body` and behind it.
    private static func appendBlock(
        _ type: BlockType, to bytes: inout [UInt8], _ body: (inout [UInt8]) -> Void
    ) {
        let start = bytes.count
        bytes.append(littleEndian: type.rawValue)
        bytes.append(littleEndian: UInt32(0))
        body(&bytes)
        let byteCount = UInt32(bytes.count - start + 4)
        bytes.append(littleEndian: byteCount)
        for index in 0..<4 {
            bytes[start + 4 + index] = UInt8(truncatingIfNeeded: byteCount >> (index * 8))
        }
    }

    private static func append(_ code: OptionCode, _ value: [UInt8], to bytes: inout [UInt8]) {
        let value = value.prefix(optionByteCountMax)
        bytes.append(littleEndian: code.value)
        bytes.append(littleEndian: UInt16(value.count))
        bytes += value
        bytes.append(contentsOf: repeatElement(0, count: padding(value.count)))
    }

    private static func appendEndOfOptions(to bytes: inout [UInt8]) {
        bytes.append(littleEndian: UInt32(0))
    }

    /// Appends a time as blocks have it: the high half first.
    private static func append(time nanoseconds: UInt64, to bytes: inout [UInt8]) {
        let microseconds = nanoseconds / 1000
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: microseconds >> 32))
        bytes.append(littleEndian: UInt32(truncatingIfNeeded: microseconds))
    }

    private static func option(time nanoseconds: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        append(time: nanoseconds, to: &bytes)
        return bytes
    }

    private static func option(_ number: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: number)
        return bytes
    }

    /// How many bytes are missing to a multiple of four.
    private static func padding(_ byteCount: Int) -> Int { (4 - byteCount & 3) & 3 }
}
