/// The bytes of a capture file that a test makes, in either byte order.
struct BuiltFile {
    private(set) var bytes: [UInt8] = []
    /// The byte order of what is added from now on.
    private var isBigEndian = false

    /// Adds the head of a pcap file; it holds nanoseconds or microseconds.
    static func pcap(isBigEndian: Bool, isNano: Bool, linkType: UInt32 = 1) -> Self {
        var file = Self()
        file.isBigEndian = isBigEndian
        file.add(words: [isNano ? 0xa1b2_3c4d : 0xa1b2_c3d4])
        file.add(shorts: [2, 4])
        file.add(words: [0, 0, 65535, linkType])
        return file
    }

    /// Adds a record of a pcap file.
    mutating func addRecord(seconds: UInt32, fraction: UInt32, _ frame: [UInt8]) {
        add(words: [seconds, fraction, UInt32(frame.count), UInt32(frame.count)])
        bytes += frame
    }

    /// Begins a section of a pcapng file, in its own byte order.
    mutating func addSection(isBigEndian: Bool, version: UInt16 = 1, application: [UInt8]? = nil) {
        self.isBigEndian = isBigEndian
        addBlock(0x0a0d_0d0a) { file in
            file.add(words: [0x1a2b_3c4d])
            file.add(shorts: [version, 0])
            file.add(words: [.max, .max])
            guard let application else { return }
            // The machine in front of it, which is skipped.
            file.add(shorts: [2, 3])
            file.add(padded: [0x61, 0x62, 0x63])
            file.add(shorts: [4, UInt16(application.count)])
            file.add(padded: application)
            file.add(shorts: [0, 0])
        }
    }

    /// Adds an interface; `resolution` is its option `if_tsresol`.
    mutating func addInterface(linkType: UInt16 = 1, snaplen: UInt32 = 0, resolution: UInt8? = 9) {
        addBlock(1) { file in
            file.add(shorts: [linkType, 0])
            file.add(words: [snaplen])
            guard let resolution else { return }
            // A name in front of it, which is skipped.
            file.add(shorts: [2, 2])
            file.add(padded: [0x6c, 0x6f])
            file.add(shorts: [9, 1])
            file.add(padded: [resolution])
            file.add(shorts: [0, 0])
        }
    }

    /// Adds an enhanced packet, with a comment behind it.
    mutating func addPacket(interface: UInt32 = 0, time: UInt64, _ frame: [UInt8]) {
        addBlock(6) { file in
            file.add(words: [interface])
            file.add(time, frame)
            file.add(shorts: [1, 3])
            file.add(padded: [0x61, 0x62, 0x63])
            file.add(shorts: [0, 0])
        }
    }

    /// Adds an obsolete packet block, which counts one drop.
    mutating func addObsoletePacket(interface: UInt16 = 0, time: UInt64, _ frame: [UInt8]) {
        addBlock(2) { file in
            file.add(shorts: [interface, 1])
            file.add(time, frame)
        }
    }

    /// Adds a simple packet of a length on the wire, of which `frame` was recorded.
    mutating func addSimplePacket(wireByteCount: UInt32, _ frame: [UInt8]) {
        addBlock(3) { file in
            file.add(words: [wireByteCount])
            file.add(padded: frame)
        }
    }

    /// Adds a name resolution block of records, each with its type; the last one may lie about its
    /// length.
    mutating func addNames(_ records: [(type: UInt16, content: [UInt8])], lastByteCount: Int? = nil)
    {
        addBlock(4) { file in
            for (index, record) in records.enumerated() {
                let isLast = index + 1 == records.count
                let byteCount = (isLast ? lastByteCount : nil) ?? record.content.count
                file.add(shorts: [record.type, UInt16(byteCount)])
                file.add(padded: record.content)
            }
            file.add(shorts: [0, 0])
        }
    }

    /// Adds a block whose type nobody knows.
    mutating func addUnknownBlock(_ content: [UInt8]) {
        addBlock(0xbad) { $0.add(padded: content) }
    }

    mutating func add(words: [UInt32]) { for word in words { add(word) } }

    private mutating func add(_ time: UInt64, _ frame: [UInt8]) {
        let length = UInt32(frame.count)
        add(words: [UInt32(time >> 32), UInt32(truncatingIfNeeded: time), length, length + 9])
        add(padded: frame)
    }

    private mutating func add(shorts: [UInt16]) { for short in shorts { add(short) } }

    private mutating func add(padded content: [UInt8]) {
        bytes += content + [UInt8](repeating: 0xee, count: (4 - content.count % 4) % 4)
    }

    private mutating func add<Number: FixedWidthInteger>(_ number: Number) {
        let shifts = stride(from: 0, to: Number.bitWidth, by: 8)
        let littleEndian = shifts.map { UInt8(truncatingIfNeeded: number >> $0) }
        bytes += isBigEndian ? littleEndian.reversed() : littleEndian
    }

    private mutating func addBlock(_ type: UInt32, _ content: (inout Self) -> Void) {
        var inner = Self()
        inner.isBigEndian = isBigEndian
        content(&inner)
        let byteCount = UInt32(inner.bytes.count + 12)
        add(words: [type, byteCount])
        bytes += inner.bytes
        add(words: [byteCount])
    }
}

/// Gzip files that hold their content as it is (RFC 1951, 3.2.4; RFC 1952).
enum Gzip {
    static func member(_ content: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]
        var rest = content[...]
        repeat {
            let piece = rest.prefix(0xffff)
            rest = rest.dropFirst(piece.count)
            let length = UInt16(piece.count)
            bytes.append(rest.isEmpty ? 1 : 0)
            bytes += [length, ~length].flatMap { [UInt8($0 & 0xff), UInt8($0 >> 8)] }
            bytes += piece
        } while !rest.isEmpty
        for number in [checksum(content), UInt32(content.count)] {
            bytes += (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
        }
        return bytes
    }

    private static func checksum(_ content: [UInt8]) -> UInt32 {
        var sum = UInt32.max
        for byte in content {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : (sum >> 1) ^ 0xedb8_8320 }
        }
        return ~sum
    }
}
