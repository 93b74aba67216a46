import Compression
import FuzzSupport
import Testing

/// Members at random: with copies, with blocks that are kept as they are, and with long runs.
@Suite("A decoder of gzip data, at random")
struct RandomGzipTests {
    /// Decodes piece by piece, until the input or the data end.
    ///
    /// - Returns: The content, and whether a member's end was reached.
    static func decode(
        _ input: [UInt8], byteCountMax: Int, pieceByteCount: Int
    ) throws -> (content: [UInt8], isAtEnd: Bool) {
        let decoder = try GzipDecoder()
        var (content, rest): ([UInt8], _) = ([], input[...])
        while !rest.isEmpty {
            if decoder.isAtMemberEnd { try decoder.beginMember() }
            let count = content.count
            let taken = try decoder.decode(
                rest.prefix(pieceByteCount), to: &content, byteCountMax: byteCountMax)
            guard content.count - count <= byteCountMax, taken <= min(rest.count, pieceByteCount)
            else {
                throw Fuzz.Complaint("\(content.count - count) bytes of \(taken)")
            }
            // A caller that goes on for as long as there is input has to come to an end.
            guard taken > 0 || content.count > count || decoder.isAtMemberEnd else {
                throw Fuzz.Complaint("does nothing with \(rest.count) bytes")
            }
            rest = rest.dropFirst(taken)
        }
        return (content, decoder.isAtMemberEnd)
    }

    @Test("returns the content in any pieces, and never one that is wrong", arguments: Fuzz.seeds)
    func fuzz(seed: UInt64) {
        Fuzz.rounds(from: seed) { seed in
            var random = RandomNumbers(seed)
            var member = DeflatedMember()
            member.add(with: &random)
            let limits = [1, 7, 256, 1000, 1 << 16]
            let limit = limits.randomElement(using: &random) ?? 1
            let piece = limits.randomElement(using: &random) ?? 1
            let count = Int.random(in: 1...3, using: &random)
            let (content, isAtEnd) = try Self.decode(
                (0..<count).flatMap { _ in member.bytes }, byteCountMax: limit,
                pieceByteCount: piece)
            guard isAtEnd, content == (0..<count).flatMap({ _ in member.content }) else {
                throw Fuzz.Complaint("\(content.count) bytes of \(count) * \(member.content.count)")
            }
            for _ in 0..<20 { try Self.decodeDamaged(member, with: &random) }
        }
    }

    /// Damaged data are refused, wait for more, or are what was said.
    private static func decodeDamaged(
        _ member: DeflatedMember, with random: inout RandomNumbers
    ) throws {
        var bytes = member.bytes
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            let index = Int.random(in: bytes.indices, using: &random)
            bytes[index] = .random(in: 0...255, using: &random)
        }
        if Bool.random(using: &random) {
            bytes.removeLast(Int.random(in: 0...bytes.count, using: &random))
        }
        do {
            let (content, isAtEnd) = try decode(bytes, byteCountMax: 4096, pieceByteCount: 512)
            // The checksum tells, if it comes.
            guard !isAtEnd || content == member.content || content.isEmpty else {
                throw Fuzz.Complaint("\(content.count) bytes of \(member.content.count), damaged")
            }
            // The most that deflated data can become (zlib's technical details: 1,032 times).
            guard content.count <= 1040 * (bytes.count + 1) else {
                throw Fuzz.Complaint("\(content.count) bytes of \(bytes.count)")
            }
        } catch let failure as GzipDecoder.Failure {
            guard "\(failure)" == "its gzip data are damaged" else {
                throw Fuzz.Complaint("\(failure)")
            }
        }
    }
}

/// A gzip member (RFC 1952) of blocks that a test writes (RFC 1951).
private struct DeflatedMember {
    private(set) var content: [UInt8] = []
    private var blocks: [UInt8] = []
    private var bit = 0

    /// Adds blocks until the last one.
    mutating func add(with random: inout RandomNumbers) {
        let blockCount = Int.random(in: 1...4, using: &random)
        for number in 1...blockCount {
            put(number == blockCount ? 1 : 0, 1)
            if Int.random(in: 0...3, using: &random) == 0 {
                addStored(Int.random(in: 0...300, using: &random), with: &random)
            } else {
                addCodes(with: &random)
            }
        }
    }

    var bytes: [UInt8] {
        let trailer = [checksum, UInt32(content.count)].flatMap { number in
            (0..<4).map { UInt8(truncatingIfNeeded: number >> ($0 * 8)) }
        }
        return [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 0, 3] + blocks + trailer
    }

    /// Puts bits into the last byte, the lowest one first.
    private mutating func put(_ value: Int, _ count: Int) {
        for shift in 0..<count {
            if bit == 0 { blocks.append(0) }
            if value >> shift & 1 == 1 { blocks[blocks.count - 1] |= 1 << UInt8(bit) }
            bit = (bit + 1) % 8
        }
    }

    /// Puts a code, whose highest bit comes first (RFC 1951, 3.1.1).
    private mutating func put(code: Int, _ count: Int) {
        for shift in (0..<count).reversed() { put(code >> shift & 1, 1) }
    }

    /// Adds a block of bytes as they are (RFC 1951, 3.2.4).
    private mutating func addStored(_ count: Int, with random: inout RandomNumbers) {
        put(0, 2)
        bit = 0
        let bytes = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        for number in [count, ~count & 0xffff] {
            blocks += [UInt8(number & 0xff), UInt8(number >> 8)]
        }
        blocks += bytes
        content += bytes
    }

    /// Adds a block with fixed codes (RFC 1951, 3.2.6): bytes, and copies of what came before.
    private mutating func addCodes(with random: inout RandomNumbers) {
        put(1, 2)
        let isBomb = Int.random(in: 0...9, using: &random) == 0
        for _ in 0..<(isBomb ? 400 : Int.random(in: 0...60, using: &random)) {
            guard !content.isEmpty, isBomb || Bool.random(using: &random) else {
                addLiteral(.random(in: 0...255, using: &random))
                continue
            }
            addCopy(isLong: isBomb || Bool.random(using: &random), with: &random)
        }
        put(code: 0, 7)
    }

    private mutating func addLiteral(_ byte: UInt8) {
        let value = Int(byte)
        if value < 144 { put(code: 0x30 + value, 8) } else { put(code: 0x190 + value - 144, 9) }
        content.append(byte)
    }

    /// Adds a copy of 3 to 10 bytes, or of 258, from at most four bytes before.
    private mutating func addCopy(isLong: Bool, with random: inout RandomNumbers) {
        let count = isLong ? 258 : Int.random(in: 3...10, using: &random)
        if isLong { put(code: 0xc5, 8) } else { put(code: count - 2, 7) }
        let distance = Int.random(in: 1...min(4, content.count), using: &random)
        put(code: distance - 1, 5)
        for _ in 0..<count { content.append(content[content.count - distance]) }
    }

    private var checksum: UInt32 {
        var sum = UInt32.max
        for byte in content {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 0 ? sum >> 1 : (sum >> 1) ^ 0xedb8_8320 }
        }
        return ~sum
    }
}
