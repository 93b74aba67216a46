import Compression
import Testing

@Suite("A decoder of gzip data")
struct GzipDecoderTests {
    /// What Python's `gzip.compress(b"podwire " * 1000, 9, mtime=0)` returns: 8,000 bytes.
    private static let member: [UInt8] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc5,
        0xb1, 0x0d, 0x00, 0x20, 0x08, 0x00, 0xb0, 0x57, 0x38, 0x4e, 0x06, 0x26,
        0x88, 0x0b, 0xef, 0x7b, 0x88, 0xed, 0xd2, 0xe9, 0xb3, 0x75, 0x33, 0xc6,
        0xb6, 0x6d, 0xdb, 0xb6, 0x6d, 0xdb, 0xb6, 0x6d, 0xdb, 0xb6, 0xed, 0x8f,
        0x7f, 0xbb, 0x7c, 0xe6, 0xc9, 0x40, 0x1f, 0x00, 0x00,
    ]
    private static let content = Array(String(repeating: "podwire ", count: 1000).utf8)

    /// The content, decoded piece by piece; each call returns at most `byteCountMax` bytes.
    private func decode(_ input: [UInt8], byteCountMax: Int, pieceByteCount: Int) throws -> [UInt8]
    {
        let (content, isAtEnd) = try RandomGzipTests.decode(
            input, byteCountMax: byteCountMax, pieceByteCount: pieceByteCount)
        #expect(isAtEnd)
        return content
    }

    @Test(
        "returns at most as many bytes at a time as it is asked for",
        arguments: [(1, 1), (7, 3), (256, 64), (1 << 20, 1 << 20)])
    func pieces(byteCountMax: Int, pieceByteCount: Int) throws {
        let content = try decode(
            Self.member, byteCountMax: byteCountMax, pieceByteCount: pieceByteCount)
        #expect(content == Self.content)
    }

    @Test("decodes members that follow each other")
    func members() throws {
        let content = try decode(
            Self.member + Self.member, byteCountMax: 1000, pieceByteCount: 1000)
        #expect(content == Self.content + Self.content)
    }

    @Test("says that data are damaged, wherever a bit is wrong")
    func damaged() throws {
        // The four bytes of the time and the operating system's number mean nothing here.
        for index in Self.member.indices where !(4..<10).contains(index) {
            var member = Self.member
            member[index] ^= 0x55
            let decoder = try GzipDecoder()
            var content: [UInt8] = []
            do throws(GzipDecoder.Failure) {
                _ = try decoder.decode(member[...], to: &content, byteCountMax: 1 << 20)
                #expect(!decoder.isAtMemberEnd, "byte \(index)")
            } catch {
                #expect("\(error)" == "its gzip data are damaged")
            }
        }
    }

    @Test("waits for more of data that are cut off")
    func cut() throws {
        let decoder = try GzipDecoder()
        var content: [UInt8] = []
        let input = Self.member.dropLast()
        let taken = try decoder.decode(input, to: &content, byteCountMax: 1 << 20)
        #expect(taken == input.count && content == Self.content && !decoder.isAtMemberEnd)
        #expect(try decoder.decode([], to: &content, byteCountMax: 1) == 0)
    }
}
