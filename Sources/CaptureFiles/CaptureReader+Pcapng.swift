import Formats

/// The blocks of a pcapng file (draft-ietf-opsawg-pcapng).
extension CaptureReader {
    /// The type of the block that begins a section, which is the same in both byte orders.
    static let sectionHeader: UInt32 = 0x0a0d_0d0a
    /// The longest block, such as one of a program's own or with the secrets of sessions.
    ///
    /// All but a packet's bytes is skipped without being held.
    private static let blockByteCountMax = 256 << 20
    /// More interfaces than a node has.
    ///
    /// A file with more is made to fill memory.
    private static let interfaceCountMax = 65_536
    /// The year 2262, where signed nanoseconds end.
    ///
    /// Nothing was recorded later.
    private static let secondsMax: UInt64 = 9_223_372_035
    private static let majorVersion: UInt16 = 1

    /// The types of blocks that are read.
    ///
    /// All others are skipped.
    private enum BlockType: UInt32 {
        case interface = 1
        /// The packet block of old files: as the enhanced one, with 16 bits for its interface.
        case obsoletePacket = 2
        case simplePacket = 3
        case names = 4
        case enhancedPacket = 6
        case section = 0x0a0d_0d0a

        /// The least bytes of such a block.
        var byteCountMin: Int {
            switch self {
            case .simplePacket, .names: 16
            case .interface: 20
            case .section: 28
            case .obsoletePacket, .enhancedPacket: 32
            }
        }
    }

    mutating func nextBlock() throws(Failure) -> Step {
        guard try input.fill(12) else { return .end }
        if isAtNewFile() { throw failure(Self.newFile) }
        let type = BlockType(rawValue: number(at: 0))
        if type == .section { try beginByteOrder() }
        let byteCount = Int(number(at: 4))
        let least = type?.byteCountMin ?? 12
        guard (least...Self.blockByteCountMax).contains(byteCount), byteCount % 4 == 0 else {
            throw failure("a block of \(Wording.count(byteCount, "byte")) cannot be")
        }
        switch type {
        case .section: return try beginSection(byteCount)
        case .interface: return try addInterface(byteCount)
        case .names: return try addNames(byteCount)
        case .obsoletePacket, .enhancedPacket: return try packet(type, byteCount)
        case .simplePacket: return try simplePacket(byteCount)
        case nil: break
        }
        return try input.skip(byteCount) ? .other : .end
    }

    /// Begins a section, whose byte order is its own, also in its block's length.
    private mutating func beginByteOrder() throws(Failure) {
        interfaces = []
        switch Array(input.bytes(8..<12)) {
        case [0x1a, 0x2b, 0x3c, 0x4d]: isBigEndian = true
        case [0x4d, 0x3c, 0x2b, 0x1a]: isBigEndian = false
        default: throw failure("a section in no byte order that is known")
        }
    }

    private mutating func beginSection(_ byteCount: Int) throws(Failure) -> Step {
        guard try input.fill(16) else { return .end }
        let version = shortNumber(at: 12)
        guard version == Self.majorVersion else {
            throw failure("version \(version) of pcapng is not known")
        }
        _ = try input.skip(24)
        guard let options = try readOptions([Self.application], in: byteCount - 28),
            try input.skip(4)
        else { return .end }
        application = Self.text(options[Self.application])
        return .other
    }

    private mutating func packet(
        _ type: BlockType?, _ byteCount: Int
    ) throws(Failure) -> Step {
        guard try input.fill(28) else { return .end }
        let index = Int(type == .obsoletePacket ? UInt32(shortNumber(at: 8)) : number(at: 8))
        let length = Int(number(at: 20))
        guard interfaces.indices.contains(index), length <= byteCount - 32 else {
            throw failure("a packet that does not fit its block or names no interface")
        }
        let interface = interfaces[index]
        let units = UInt64(number(at: 12)) << 32 | UInt64(number(at: 16))
        let (seconds, rest) = units.quotientAndRemainder(dividingBy: interface.unitsPerSecond)
        let fraction = rest.multipliedFullWidth(by: 1_000_000_000)
        let nanoseconds = interface.unitsPerSecond.dividingFullWidth(fraction).quotient
        let step = try frame(
            on: interface, min(seconds, Self.secondsMax) * 1_000_000_000 + nanoseconds, at: 28,
            length, onWire: Int(number(at: 24)), recordByteCount: byteCount)
        noteFrame(step, of: index)
        return step
    }

    /// Keeps the name of an interface that has a frame.
    private mutating func noteFrame(_ step: Step, of index: Int) {
        guard case .frame = step, !interfaces[index].hasFrames else { return }
        interfaces[index].hasFrames = true
        if interfaceNames.count < Self.interfaceNameCountMax {
            interfaceNames.insert(interfaces[index].name)
        }
    }

    /// More names than a node has edges: a file with more is of no edge.
    private static let interfaceNameCountMax = 4096

    /// Reads a packet of the section's first interface, which has no time.
    ///
    /// Its block has only the length on the wire: what was recorded is cut to the snap length.
    private mutating func simplePacket(_ byteCount: Int) throws(Failure) -> Step {
        guard let interface = interfaces.first else {
            throw failure("a packet that does not fit its block or names no interface")
        }
        let limit = interface.snaplen == 0 ? .max : interface.snaplen
        let wireByteCount = Int(number(at: 8))
        let step = try frame(
            on: interface, 0, at: 12, min(wireByteCount, limit, byteCount - 16),
            onWire: wireByteCount, recordByteCount: byteCount)
        noteFrame(step, of: 0)
        return step
    }

    private mutating func addInterface(_ byteCount: Int) throws(Failure) -> Step {
        guard interfaces.count < Self.interfaceCountMax else {
            throw failure("more than \(Self.interfaceCountMax) interfaces")
        }
        guard try input.fill(16) else { return .end }
        let (linkType, snaplen) = (shortNumber(at: 8), Int(number(at: 12)))
        _ = try input.skip(16)
        // The options are between this and the length that ends the block.
        let wanted: Set = [Self.interfaceName, Self.timeResolution]
        guard let options = try readOptions(wanted, in: byteCount - 20), try input.skip(4)
        else { return .end }
        let resolution = options[Self.timeResolution]
        let exponent = resolution?.count == 1 ? resolution?.first : nil
        let unitsPerSecond = exponent.flatMap(Self.units) ?? Self.unitsPerSecondStandard
        var interface = Interface(
            linkType: linkType, snaplen: snaplen, unitsPerSecond: unitsPerSecond)
        interface.name = Self.text(options[Self.interfaceName])
        interfaces.append(interface)
        return .other
    }

    /// Skips a block's options, and keeps the values of some of them.
    ///
    /// - Returns: The values that there are and that can be kept, of several of a kind the last; nil if
    ///   the file ends before.
    private mutating func readOptions(
        _ wanted: Set<UInt16>, in byteCount: Int
    ) throws(Failure) -> [UInt16: [UInt8]]? {
        var values: [UInt16: [UInt8]] = [:]
        var rest = byteCount
        while rest >= 4 {
            guard try input.fill(4) else { return try input.skip(rest) ? values : nil }
            let (code, length) = (shortNumber(at: 0), Int(shortNumber(at: 2)))
            let optionByteCount = 4 + (length + 3) / 4 * 4
            guard code != Self.endOfOptions, optionByteCount <= rest else { break }
            if wanted.contains(code), length <= Self.valueByteCountMax, try input.fill(4 + length) {
                values[code] = Array(input.bytes(4..<4 + length))
            }
            guard try input.skip(optionByteCount) else { return nil }
            rest -= optionByteCount
        }
        return try input.skip(rest) ? values : nil
    }

    private static func text(_ value: [UInt8]?) -> String {
        String(decoding: value ?? [], as: UTF8.self)
    }

    /// The longest value that is kept: names of programs are shorter.
    private static let valueByteCountMax = 255
    private static let endOfOptions: UInt16 = 0
    /// `shb_userappl`.
    private static let application: UInt16 = 4
    /// `if_name`.
    private static let interfaceName: UInt16 = 2
    /// `if_tsresol`.
    private static let timeResolution: UInt16 = 9
    /// Microseconds.
    private static let unitsPerSecondStandard: UInt64 = 1_000_000

    /// The units of a second: a power of 10, or of 2 if the high bit is set; nil if it is too large.
    private static func units(_ value: UInt8) -> UInt64? {
        let exponent = Int(value & 0x7f)
        let isBinary = value & 0x80 != 0
        guard exponent <= (isBinary ? 62 : 18) else { return nil }
        return isBinary
            ? 1 << UInt64(exponent) : (0..<exponent).reduce(1) { power, _ in power * 10 }
    }
}
