import Addressing
import CaptureFiles
import Glibc
import Testing

/// What the reader makes of files of both formats, whole, cut and broken.
@Suite("A capture reader")
struct CaptureReaderTests {
    private static let frame = [UInt8](1...60)
    private static let nanoseconds: UInt64 = 1_700_000_000_123_456_000

    /// A pcap file with one frame, in either byte order and with either resolution.
    private static func pcap(isBigEndian: Bool, isNano: Bool, linkType: UInt32 = 1) -> [UInt8] {
        let words: [UInt32] = [
            isNano ? 0xa1b2_3c4d : 0xa1b2_c3d4, isBigEndian ? 0x0002_0004 : 0x0004_0002, 0, 0,
            65535, linkType, 1_700_000_000, isNano ? 123_456_000 : 123_456, 60, 60,
        ]
        return bytes(words, isBigEndian) + frame
    }

    /// A pcapng file: a section, an interface with nanoseconds, something unknown, and a frame.
    private static func pcapng(isBigEndian: Bool) -> [UInt8] {
        let time = nanoseconds
        let option: [UInt32] = isBigEndian ? [0x0009_0001, 0x0900_0000] : [0x0001_0009, 9]
        let section: [UInt32] = [
            0x0a0d_0d0a, 28, 0x1a2b_3c4d, isBigEndian ? 0x0001_0000 : 1, .max, .max, 28,
        ]
        let interface: [UInt32] =
            [1, 32, isBigEndian ? 0x0001_0000 : 1, 0] + option + [0, 32]
        let unknown: [UInt32] = [0xbad, 16, 7, 16]
        let packet: [UInt32] = [
            6, 92, 0, UInt32(time >> 32), UInt32(truncatingIfNeeded: time), 60, 60,
        ]
        return bytes(section + interface + unknown + packet, isBigEndian) + frame
            + bytes([92], isBigEndian)
    }

    private static func bytes(_ words: [UInt32], _ isBigEndian: Bool) -> [UInt8] {
        words.flatMap { word in
            let shifts: [UInt32] = isBigEndian ? [24, 16, 8, 0] : [0, 8, 16, 24]
            return shifts.map { UInt8(truncatingIfNeeded: word >> $0) }
        }
    }

    static let files: [[UInt8]] = [false, true].flatMap { isBigEndian in
        [
            pcap(isBigEndian: isBigEndian, isNano: false),
            pcap(isBigEndian: isBigEndian, isNano: true), pcapng(isBigEndian: isBigEndian),
        ]
    }

    @Test("reads both formats in both byte orders", arguments: files)
    func reads(file: [UInt8]) throws {
        let (frames, error) = try read(file)
        #expect(error == nil)
        #expect(frames.map(\.nanoseconds) == [Self.nanoseconds])
        #expect(frames.map(\.bytes) == [Self.frame])
    }

    @Test("ends before a packet that is cut off", arguments: files)
    func cut(file: [UInt8]) throws {
        let (frames, error) = try read(Array(file.dropLast()))
        #expect(frames.isEmpty && error == nil)
    }

    @Test("passes over what is no Ethernet frame")
    func otherLinkType() throws {
        let (frames, error) = try read(Self.pcap(isBigEndian: false, isNano: false, linkType: 101))
        #expect(frames.isEmpty && error == nil)
    }

    @Test(
        "says what is wrong with a file",
        arguments: [
            ([], "too short to be a capture file"), ([1, 2, 3], "too short to be a capture file"),
            (Array("GET / HTTP/1.1".utf8), "neither a pcap nor a pcapng file"),
            (
                pcap(isBigEndian: false, isNano: false).prefix(32) + [
                    255, 255, 255, 255, 0, 0, 0, 0,
                ],
                "a packet of 4294967295 bytes cannot be"
            ),
            (
                pcapng(isBigEndian: false).prefix(28) + [1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0],
                "a block of 7 bytes cannot be"
            ),
        ] as [([UInt8], String)])
    func broken(file: [UInt8], reason: String) throws {
        let (_, error) = try read(file)
        guard case .malformed(_, reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("comes to an end whatever the bytes are", arguments: files)
    func fuzz(file: [UInt8]) throws {
        var generator = SystemRandomNumberGenerator()
        for _ in 0..<2000 {
            var file = file
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let index = Int.random(in: file.indices, using: &generator)
                file[index] = [0, 1, 0x7f, 0xff, UInt8.random(in: 0...255)].randomElement() ?? 0
            }
            let (frames, _) = try read(file)
            #expect(frames.count <= 2)
        }
    }

    private func read(
        _ file: [UInt8]
    ) throws -> (frames: [CaptureReader.Frame], failure: CaptureReader.Failure?) {
        let path = "/tmp/podwire-reader-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
        defer { unsafe _ = unlink(path) }
        let number = unsafe open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        unsafe _ = file.withUnsafeBytes { unsafe write(number, $0.baseAddress, $0.count) }
        close(number)
        var reader = try CaptureReader(path: path)
        var frames: [CaptureReader.Frame] = []
        do throws(CaptureReader.Failure) {
            while let frame = try reader.next() { frames.append(frame) }
            return (frames, nil)
        } catch {
            return (frames, error)
        }
    }
}
