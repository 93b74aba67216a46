package import Linux

/// A reader of pcap and pcapng files: one packet after the other, in little memory.
///
/// It knows both byte orders, and the time resolutions of both formats. It skips and counts packets
/// of other link types than Ethernet. If the file ends in the middle of a packet, the packet before
/// is the last. (draft-ietf-opsawg-pcap and -pcapng)
package struct CaptureReader: ~Copyable {
    private let descriptor: Descriptor
    private let path: String
    private var buffer: [UInt8] = []
    private var start = 0
    private var hasBegun = false
    private var isBigEndian = false
    private var isPcapng = false
    private var interfaces: [Interface] = []
    /// Packets that were skipped because they are no Ethernet frames.
    package private(set) var skippedCount = 0
    /// Whether the file ended in the middle of a packet.
    package private(set) var isCutShort = false

    /// Longer than any packet: a record that claims more is damaged.
    private static let recordByteCountMax = 16 << 20
    private static let readByteCount = 256 << 10
    /// More interfaces than a node has.
    ///
    /// A file with more is made to fill memory.
    private static let interfaceCountMax = 65_536
    /// The year 2262, where signed nanoseconds end.
    ///
    /// Nothing was recorded later.
    private static let secondsMax: UInt64 = 9_223_372_035
    /// The link type of Ethernet, `LINKTYPE_ETHERNET`.
    private static let ethernet = 1

    private struct Interface {
        let isEthernet: Bool
        /// The resolution of its time stamps.
        let unitsPerSecond: UInt64
    }

    /// An Ethernet frame, as long as it was recorded.
    package struct Frame: Equatable, Sendable {
        /// When it was captured, since 1970.
        package let nanoseconds: UInt64
        package let bytes: [UInt8]

        package init(nanoseconds: UInt64, bytes: [UInt8]) {
            (self.nanoseconds, self.bytes) = (nanoseconds, bytes)
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

    /// Opens the file.
    ///
    /// Its format is examined with the first packet.
    package init(path: String) throws(SystemError) {
        descriptor = try Descriptor(reading: path)
        self.path = path
    }

    private mutating func begin() throws(Failure) {
        hasBegun = true
        guard try fill(4) else { throw failure("too short to be a capture file") }
        switch number(at: 0) {
        case 0x0a0d_0d0a: isPcapng = true
        case let magic:
            let kinds: [UInt32: (isBigEndian: Bool, unitsPerSecond: UInt64)] = [
                0xa1b2_c3d4: (false, 1_000_000), 0xd4c3_b2a1: (true, 1_000_000),
                0xa1b2_3c4d: (false, 1_000_000_000), 0x4d3c_b2a1: (true, 1_000_000_000),
            ]
            guard let kind = kinds[magic] else {
                throw failure("neither a pcap nor a pcapng file")
            }
            guard try fill(24) else { throw failure("too short to be a capture file") }
            isBigEndian = kind.isBigEndian
            let linkType = Int(number(at: 20) & 0xffff)
            interfaces = [
                Interface(
                    isEthernet: linkType == Self.ethernet, unitsPerSecond: kind.unitsPerSecond)
            ]
            start += 24
        }
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

    private enum Step {
        case end
        case frame(Frame)
        case other
    }

    private mutating func nextRecord() throws(Failure) -> Step {
        guard try fill(16) else { return .end }
        let byteCount = Int(number(at: 8))
        guard byteCount <= Self.recordByteCountMax else {
            throw failure("a packet of \(byteCount) bytes cannot be")
        }
        guard try fill(16 + byteCount) else { return .end }
        let interface = interfaces[0]
        let (seconds, fraction) = (UInt64(number(at: 0)), UInt64(number(at: 4)))
        let nanoseconds =
            seconds * 1_000_000_000 + fraction * (1_000_000_000 / interface.unitsPerSecond)
        defer { start += 16 + byteCount }
        return frame(on: interface, nanoseconds, at: 16, byteCount)
    }

    private mutating func nextBlock() throws(Failure) -> Step {
        guard try fill(12) else { return .end }
        let type = number(at: 0)
        if type == 0x0a0d_0d0a {
            isBigEndian = number(at: 8) == 0x4d3c_2b1a
            interfaces = []
        }
        let byteCount = Int(number(at: 4))
        guard (12...Self.recordByteCountMax).contains(byteCount), byteCount % 4 == 0 else {
            throw failure("a block of \(byteCount) bytes cannot be")
        }
        guard try fill(byteCount) else { return .end }
        defer { start += byteCount }
        switch type {
        case 1 where byteCount >= 20: try addInterface(byteCount)
        case 6 where byteCount >= 32: return try enhancedPacket(byteCount)
        case 3 where byteCount >= 16:
            guard let interface = interfaces.first else { return .other }
            let length = min(Int(number(at: 8)), byteCount - 16)
            return frame(on: interface, 0, at: 12, length)
        default: break
        }
        return .other
    }

    private mutating func enhancedPacket(_ byteCount: Int) throws(Failure) -> Step {
        let index = Int(number(at: 8))
        let length = Int(number(at: 20))
        guard interfaces.indices.contains(index), length <= byteCount - 32 else {
            throw failure("a packet that does not fit its block or names no interface")
        }
        let interface = interfaces[index]
        let units = UInt64(number(at: 12)) << 32 | UInt64(number(at: 16))
        let (seconds, rest) = units.quotientAndRemainder(dividingBy: interface.unitsPerSecond)
        let fraction = rest.multipliedFullWidth(by: 1_000_000_000)
        let nanoseconds = interface.unitsPerSecond.dividingFullWidth(fraction).quotient
        return frame(
            on: interface, min(seconds, Self.secondsMax) * 1_000_000_000 + nanoseconds, at: 28,
            length)
    }

    private mutating func addInterface(_ byteCount: Int) throws(Failure) {
        guard interfaces.count < Self.interfaceCountMax else {
            throw failure("more than \(Self.interfaceCountMax) interfaces")
        }
        let linkType = number(at: 8) >> (isBigEndian ? 16 : 0) & 0xffff
        interfaces.append(
            Interface(
                isEthernet: linkType == UInt32(Self.ethernet),
                unitsPerSecond: unitsPerSecond(optionsEnd: byteCount - 4)))
    }

    /// The resolution in the option `if_tsresol`, or microseconds if there is none.
    ///
    /// It is a power of 10, or of 2 if its high bit is set.
    private func unitsPerSecond(optionsEnd: Int) -> UInt64 {
        var offset = 16
        while offset + 4 <= optionsEnd {
            let header = number(at: offset)
            let (code, length) =
                isBigEndian ? (header >> 16, header & 0xffff) : (header & 0xffff, header >> 16)
            if code == 0 { break }
            if code == 9, length == 1 {
                let value = buffer[start + offset + 4]
                let exponent = Int(value & 0x7f)
                guard exponent <= (value & 0x80 == 0 ? 18 : 62) else { break }
                return value & 0x80 != 0
                    ? 1 << UInt64(exponent) : (0..<exponent).reduce(1) { power, _ in power * 10 }
            }
            offset += 4 + (Int(length) + 3) / 4 * 4
        }
        return 1_000_000
    }

    private mutating func frame(
        on interface: Interface, _ nanoseconds: UInt64, at offset: Int, _ byteCount: Int
    ) -> Step {
        guard interface.isEthernet else {
            skippedCount += 1
            return .other
        }
        let bytes = Array(buffer[start + offset..<start + offset + byteCount])
        return .frame(Frame(nanoseconds: nanoseconds, bytes: bytes))
    }

    /// Reads until the buffer has a number of bytes behind `start`.
    ///
    /// - Returns: False if the file ends before.
    private mutating func fill(_ byteCount: Int) throws(Failure) -> Bool {
        if start > Self.readByteCount {
            buffer.removeFirst(start)
            start = 0
        }
        while buffer.count - start < byteCount {
            guard try read() else {
                isCutShort = buffer.count > start
                return false
            }
        }
        return true
    }

    private mutating func read() throws(Failure) -> Bool {
        do throws(SystemError) {
            return try descriptor.read(Self.readByteCount, to: &buffer, path)
        } catch {
            throw .system(error)
        }
    }

    /// The number in four bytes behind `start`, in the file's byte order.
    private func number(at offset: Int) -> UInt32 {
        let bytes = buffer[start + offset..<start + offset + 4]
        let value = bytes.reduce(0) { $0 << 8 | UInt32($1) }
        return isBigEndian ? value : value.byteSwapped
    }

    private func failure(_ reason: String) -> Failure {
        .malformed(path: path, reason: reason)
    }
}
