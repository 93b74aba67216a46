package import Addressing
package import Linux

/// A reader of pcap and pcapng files: one packet after the other, in little memory.
///
/// It knows both byte orders, also one after the other in the sections of a pcapng file, and the
/// time resolutions of both formats. Files may be compressed with gzip. It skips and counts packets
/// of other link types than Ethernet. If the file ends in the middle of a packet, the packet before
/// is the last. (draft-ietf-opsawg-pcap and -pcapng)
package struct CaptureReader: ~Copyable {
    var input: CaptureInput
    private var hasBegun = false
    private var isPcapng = false
    /// The byte order of the pcap file, or of the section.
    var isBigEndian = false
    /// The interfaces of the section so far; a pcap file has one.
    var interfaces: [Interface] = []
    /// The packets that have been read or skipped.
    private var packetCount = 0
    /// Packets that were skipped because they are no Ethernet frames.
    package private(set) var skippedCount = 0
    /// The names of addresses that the file has, so far; a later one of an address wins.
    package internal(set) var names: [IPAddress: String] = [:]
    /// The program that wrote the last section, such as `"Dumpcap (Wireshark) 4.0.17"`; empty if it does not
    /// say.
    package internal(set) var application = ""
    /// The names of the interfaces that have Ethernet frames in a pcapng file, so far; empty for one without
    /// a name.
    package internal(set) var interfaceNames: Set<String> = []
    /// The link type of the last packet that was skipped.
    package private(set) var skippedLinkType: UInt16?
    /// Whether the file ended in the middle of a packet.
    package var isCutShort: Bool { input.isCutShort }

    /// The bytes that are read at once.
    package static let readByteCount = 256 << 10
    /// Longer than any packet: a record that claims more is damaged.
    private static let packetByteCountMax = 16 << 20

    /// An interface of the file.
    struct Interface {
        let linkType: UInt16
        /// The most bytes of a packet that were recorded; 0 if all were.
        let snaplen: Int
        /// The resolution of its time stamps.
        let unitsPerSecond: UInt64
        var name = ""
        var hasFrames = false

        init(linkType: UInt16, snaplen: Int, unitsPerSecond: UInt64) {
            (self.linkType, self.snaplen) = (linkType, snaplen)
            self.unitsPerSecond = unitsPerSecond
        }

        var isEthernet: Bool { linkType == CaptureInterface.ethernet }
    }

    /// An Ethernet frame, as long as it was recorded.
    package struct Frame: Equatable, Sendable {
        /// When it was captured, since 1970.
        package let nanoseconds: UInt64
        package let bytes: [UInt8]
        /// Its length on the wire, which some programs do not know.
        package let wireByteCount: Int

        /// A frame; without a length on the wire it is whole.
        package init(nanoseconds: UInt64, bytes: [UInt8], wireByteCount: Int = 0) {
            (self.nanoseconds, self.bytes) = (nanoseconds, bytes)
            self.wireByteCount = max(wireByteCount, bytes.count)
        }
    }

    /// Why a file cannot be read on.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        /// It is no capture file, or a damaged one.
        case malformed(path: String, reason: String)
        /// The kernel refuses.
        case system(SystemError)

        package var description: String {
            switch self {
            case .malformed(let path, let reason): "\(path): \(reason)"
            case .system(let error): "\(error)"
            }
        }
    }

    /// Opens the file, or takes standard input for `"-"`.
    ///
    /// Its format is examined with the first packet.
    ///
    /// - Parameters:
    ///   - path: The file's path.
    ///   - readByteCount: The bytes that are read at once; more than one needs less time.
    /// - Throws: The kernel's reason if the file cannot be opened.
    package init(
        path: String, readByteCount: Int = Self.readByteCount
    ) throws(SystemError) {
        precondition(readByteCount > 0)
        input = try CaptureInput(path: path, readByteCount: readByteCount)
    }

    /// Reads the next Ethernet frame.
    ///
    /// Waits for the disk, or for the writer of a pipe.
    ///
    /// - Returns: The frame, or nil at the end of the file.
    package mutating func next() throws(Failure) -> Frame? {
        if !hasBegun { try begin() }
        while true {
            switch try isPcapng ? nextBlock() : nextRecord() {
            case .end: return nil
            case .frame(let frame): return frame
            case .other: break
            }
        }
    }

    /// What was read at a step.
    enum Step {
        case end
        case frame(Frame)
        case other
    }
}

/// The beginning of a file, and the records of a pcap file.
extension CaptureReader {
    private mutating func begin() throws(Failure) {
        hasBegun = true
        try input.begin()
        guard try input.fill(4) else { throw failure("too short to be a capture file") }
        let magic = number(at: 0)
        isPcapng = magic == Self.sectionHeader
        guard !isPcapng else { return }
        guard let kind = Self.kinds[magic] else {
            throw failure(ForeignFormat.advice(for: magic) ?? "neither a pcap nor a pcapng file")
        }
        guard try input.fill(24) else { throw failure("too short to be a capture file") }
        isBigEndian = kind.isBigEndian
        interfaces = [
            Interface(
                linkType: UInt16(truncatingIfNeeded: number(at: 20)),
                snaplen: Int(number(at: 16)), unitsPerSecond: kind.unitsPerSecond)
        ]
        _ = try input.skip(24)
    }

    /// The byte order and the resolution of a pcap file, by its first number as a little-endian one.
    private static let kinds: [UInt32: (isBigEndian: Bool, unitsPerSecond: UInt64)] = [
        0xa1b2_c3d4: (false, 1_000_000), 0xd4c3_b2a1: (true, 1_000_000),
        0xa1b2_3c4d: (false, 1_000_000_000), 0x4d3c_b2a1: (true, 1_000_000_000),
    ]

    /// Whether another file begins where a record or a block should, by its first 12 bytes.
    ///
    /// Both versions of a pcap file and its time zone are always the same.
    func isAtNewFile() -> Bool {
        let start = Array(input.bytes(0..<4)).reduce(0) { $0 << 8 | UInt32($1) }.byteSwapped
        if start == Self.sectionHeader { return !isPcapng }
        guard let kind = Self.kinds[start] else { return false }
        let head: [UInt8] = kind.isBigEndian ? [0, 2, 0, 4] : [2, 0, 4, 0]
        return Array(input.bytes(4..<12)) == head + [0, 0, 0, 0]
    }

    private mutating func nextRecord() throws(Failure) -> Step {
        guard try input.fill(16) else { return .end }
        if isAtNewFile() { throw failure(Self.newFile) }
        let byteCount = Int(number(at: 8))
        let interface = interfaces[0]
        let (seconds, fraction) = (UInt64(number(at: 0)), UInt64(number(at: 4)))
        let nanoseconds =
            seconds * 1_000_000_000 + fraction * (1_000_000_000 / interface.unitsPerSecond)
        return try frame(
            on: interface, nanoseconds, at: 16, byteCount, onWire: Int(number(at: 12)),
            recordByteCount: 16 + byteCount)
    }
}

/// What both formats need.
extension CaptureReader {
    /// Reads a frame at an offset in a record, and skips the record.
    mutating func frame(
        on interface: Interface, _ nanoseconds: UInt64, at offset: Int, _ byteCount: Int,
        onWire wireByteCount: Int, recordByteCount: Int
    ) throws(Failure) -> Step {
        guard byteCount <= Self.packetByteCountMax else {
            throw failure("a packet of \(byteCount) bytes cannot be")
        }
        guard interface.isEthernet else {
            guard try input.skip(recordByteCount) else { return .end }
            skippedCount += 1
            skippedLinkType = interface.linkType
            packetCount += 1
            return .other
        }
        guard try input.fill(offset + byteCount) else { return .end }
        let bytes = Array(input.bytes(offset..<offset + byteCount))
        guard try input.skip(recordByteCount) else { return .end }
        packetCount += 1
        return .frame(
            Frame(nanoseconds: nanoseconds, bytes: bytes, wireByteCount: wireByteCount))
    }

    /// The number in four bytes of the input, in the file's byte order.
    func number(at offset: Int) -> UInt32 {
        let value = input.bytes(offset..<offset + 4).reduce(0) { $0 << 8 | UInt32($1) }
        return isBigEndian ? value : value.byteSwapped
    }

    /// The number in two bytes of the input, in the file's byte order.
    func shortNumber(at offset: Int) -> UInt16 {
        let value = input.bytes(offset..<offset + 2).reduce(0) { $0 << 8 | UInt16($1) }
        return isBigEndian ? value : value.byteSwapped
    }

    /// What is wrong with a file that others have been appended to.
    static let newFile = "another capture file begins here: join files with mergecap, not with cat"

    /// The failure with a reason, and with the place where it came up.
    func failure(_ reason: String) -> Failure {
        let place = packetCount > 0 ? "damaged after packet \(packetCount): " : ""
        return .malformed(path: input.name, reason: place + reason)
    }
}
