import Addressing
import CaptureFiles
import Glibc
import Linux
import Testing

/// What the reader makes of files of both formats, whole, cut and broken.
@Suite("A capture reader")
struct CaptureReaderTests {
    private static let frame = [UInt8](1...60)
    private static let nanoseconds: UInt64 = 1_700_000_000_123_456_000

    /// A pcap file with one frame, in either byte order and with either resolution.
    private static func pcap(isBigEndian: Bool, isNano: Bool, linkType: UInt32 = 1) -> [UInt8] {
        var file = BuiltFile.pcap(isBigEndian: isBigEndian, isNano: isNano, linkType: linkType)
        file.addRecord(
            seconds: 1_700_000_000, fraction: isNano ? 123_456_000 : 123_456, frame)
        return file.bytes
    }

    /// A pcapng file: a section, an interface with nanoseconds, something unknown, and a frame.
    private static func pcapng(isBigEndian: Bool) -> [UInt8] {
        var file = BuiltFile()
        file.addSection(isBigEndian: isBigEndian)
        file.addInterface()
        file.addUnknownBlock([7, 7, 7])
        file.addPacket(time: nanoseconds, frame)
        return file.bytes
    }

    static let files: [[UInt8]] = [false, true].flatMap { isBigEndian in
        [
            pcap(isBigEndian: isBigEndian, isNano: false),
            pcap(isBigEndian: isBigEndian, isNano: true), pcapng(isBigEndian: isBigEndian),
        ]
    }

    @Test("reads both formats in both byte orders", arguments: files)
    func reads(file: [UInt8]) throws {
        for file in [file, Gzip.member(file)] {
            let (frames, error) = try ReadFile.read(file)
            #expect(error == nil)
            #expect(frames.map(\.nanoseconds) == [Self.nanoseconds])
            #expect(frames.map(\.bytes) == [Self.frame])
        }
    }

    @Test("reads sections in either byte order, one after the other", arguments: 0..<8)
    func sections(orders: Int) throws {
        var file = BuiltFile()
        for bit in 0..<3 {
            file.addSection(isBigEndian: orders >> bit & 1 == 1)
            // The interface of a section before has nothing to do with this one.
            file.addInterface(resolution: bit == 0 ? 9 : 6)
            file.addPacket(time: bit == 0 ? 5000 : 5, Self.frame)
        }
        let (frames, error) = try ReadFile.read(file.bytes)
        #expect(error == nil)
        // On the wire it was longer.
        #expect(
            frames
                == Array(
                    repeating: .init(nanoseconds: 5000, bytes: Self.frame, wireByteCount: 69),
                    count: 3))
    }

    @Test("reads obsolete and simple packet blocks", arguments: [false, true])
    func oldPackets(isBigEndian: Bool) throws {
        var file = BuiltFile()
        file.addSection(isBigEndian: isBigEndian)
        file.addInterface(snaplen: 61, resolution: nil)
        file.addInterface(linkType: 113)
        file.addObsoletePacket(time: 7, Self.frame)
        file.addObsoletePacket(interface: 1, time: 7, Self.frame)
        file.addSimplePacket(wireByteCount: 60, Self.frame)
        // The snap length cuts it, and the block is padded to four bytes.
        file.addSimplePacket(wireByteCount: 1500, Self.frame + [9])
        let (frames, error) = try ReadFile.read(file.bytes)
        #expect(error == nil)
        #expect(frames.map(\.nanoseconds) == [7000, 0, 0])
        #expect(frames.map(\.bytes) == [Self.frame, Self.frame, Self.frame + [9]])
        #expect(frames.map(\.wireByteCount) == [69, 60, 1500])
    }

    /// A record of a name resolution block, with an address and names that end with zeros.
    private static func name(_ address: String, _ names: [UInt8]) throws -> (UInt16, [UInt8]) {
        let address = try #require(IPAddress(address))
        return (address.family == .ipv4 ? 1 : 2, address.bytes + names)
    }

    @Test("reads names that a terminal can show, of both families", arguments: [false, true])
    func names(isBigEndian: Bool) throws {
        var file = BuiltFile()
        file.addSection(isBigEndian: isBigEndian)
        file.addInterface()
        let one = Array("shop/front\0front.shop\0".utf8)
        file.addNames([
            try Self.name("10.0.0.1", one), try Self.name("fd00::1", Array("shop/api".utf8)),
            // A record of another kind, and what no name can be.
            (9, [1, 2, 3]), try Self.name("10.0.0.2", [0x1b, 0x5b, 0x41]),
            try Self.name("10.0.0.3", [0xc3, 0x28]), try Self.name("10.0.0.4", []), (1, [10]),
            try Self.name("10.0.0.5", [UInt8](repeating: 0x61, count: 600)),
        ])
        file.addPacket(time: 7, Self.frame)
        // A later name of the same address, and a record that is longer than its block.
        file.addNames([try Self.name("10.0.0.1", Array("shop/new\0".utf8))])
        file.addNames([(1, [])], lastByteCount: 4000)
        file.addPacket(time: 8, Self.frame)
        let path = try ReadFile.make(file.bytes)
        defer { try? removeFile(path) }
        for readByteCount in [1, 7, 4096] {
            var reader = try CaptureReader(path: path, readByteCount: readByteCount)
            #expect(try reader.next() != nil)
            #expect(
                reader.names == [
                    try #require(IPAddress("10.0.0.1")): "shop/front",
                    try #require(IPAddress("fd00::1")): "shop/api",
                ])
            #expect(try reader.next() != nil)
            #expect(reader.names[try #require(IPAddress("10.0.0.1"))] == "shop/new")
            #expect(try reader.next() == nil)
            #expect(reader.names.count == 2)
        }
    }

    @Test("knows the program that wrote the section", arguments: [false, true])
    func application(isBigEndian: Bool) throws {
        let names: [(bytes: [UInt8]?, text: String)] = [
            (nil, ""), ([], ""), (Array("podwire 0.2.0".utf8), "podwire 0.2.0"),
            ([UInt8](repeating: 0x61, count: 255), String(repeating: "a", count: 255)),
            // Longer than any name, and no UTF-8.
            ([UInt8](repeating: 0x61, count: 256), ""), ([0xff], "\u{fffd}"),
        ]
        for name in names {
            var file = BuiltFile()
            file.addSection(isBigEndian: !isBigEndian, application: Array("other".utf8))
            file.addSection(isBigEndian: isBigEndian, application: name.bytes)
            file.addInterface()
            file.addPacket(time: 7, Self.frame)
            let path = try ReadFile.make(file.bytes)
            defer { try? removeFile(path) }
            for readByteCount in [1, 7, 4096] {
                var reader = try CaptureReader(path: path, readByteCount: readByteCount)
                #expect(try reader.next()?.bytes == Self.frame)
                #expect(reader.application == name.text)
            }
        }
    }

    @Test("knows a file that is cut wherever that is", arguments: [false, true])
    func cutAnywhere(isBigEndian: Bool) throws {
        var file = BuiltFile()
        var ends: Set<Int> = [0]
        file.addSection(isBigEndian: isBigEndian, application: Array("some".utf8))
        ends.insert(file.bytes.count)
        file.addInterface()
        ends.insert(file.bytes.count)
        file.addPacket(time: 7, Self.frame)
        ends.insert(file.bytes.count)
        // Fewer than four bytes do not say what file it is.
        for count in 4...file.bytes.count {
            let path = try ReadFile.make(Array(file.bytes.prefix(count)))
            defer { try? removeFile(path) }
            var reader = try CaptureReader(path: path)
            while try reader.next() != nil {}
            #expect(reader.isCutShort == !ends.contains(count), "\(count) bytes")
        }
    }

    @Test("skips a block of up to 256 MiB", arguments: [false, true])
    func largeBlock(isBigEndian: Bool) throws {
        var (head, tail) = (BuiltFile(), BuiltFile())
        head.addSection(isBigEndian: isBigEndian)
        head.add(words: [0xbad, 256 << 20])
        tail.addSection(isBigEndian: !isBigEndian)
        tail.addInterface()
        tail.addPacket(time: 7, Self.frame)
        let path = ReadFile.newPath
        defer { try? removeFile(path) }
        let file = try Descriptor(creating: path)
        try writeAll(head.bytes, to: file.fileDescriptor, path)
        // The content is a hole in the file.
        lseek(file.fileDescriptor, 256 << 20 - 8, SEEK_CUR)
        try writeAll(tail.bytes, to: file.fileDescriptor, path)
        let (frames, error) = try ReadFile.read(path: path)
        #expect(frames.map(\.bytes) == [Self.frame] && error == nil)
    }

    @Test("ends before a packet that is cut off", arguments: files)
    func cut(file: [UInt8]) throws {
        for count in [1, 20, 60] {
            let (frames, error) = try ReadFile.read(Array(file.dropLast(count)))
            #expect(frames.isEmpty && error == nil)
        }
        let compressed = Gzip.member(file)
        let (frames, error) = try ReadFile.read(Array(compressed.dropLast()))
        #expect(frames.map(\.bytes) == [Self.frame] && error == nil)
    }

    @Test("reads what stands before the damage in a gzip file", arguments: files)
    func damagedMember(file: [UInt8]) throws {
        // The checksum is wrong.
        let compressed = Gzip.member(file).dropLast(8) + [UInt8](repeating: 0, count: 8)
        let (frames, error) = try ReadFile.read(Array(compressed))
        guard case .malformed(_, "its gzip data are damaged") = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(frames.map(\.bytes) == [Self.frame])
    }

    @Test("reads gzip members that follow each other, and padding behind them")
    func members() throws {
        let file = Self.pcapng(isBigEndian: true)
        let members = [file[..<40], file[40..<90], file[90...]].flatMap { Gzip.member(Array($0)) }
        for padding in [0, 1, 512, 300_000] {
            let (frames, error) = try ReadFile.read(
                members + [UInt8](repeating: 0, count: padding))
            #expect(frames.map(\.bytes) == [Self.frame] && error == nil)
        }
    }

    @Test("passes over what is no Ethernet frame")
    func otherLinkType() throws {
        let (frames, error) = try ReadFile.read(
            Self.pcap(isBigEndian: false, isNano: false, linkType: 101))
        #expect(frames.isEmpty && error == nil)
    }

    private static func pcapng(
        version: UInt16 = 1, _ build: (inout BuiltFile) -> Void = { _ in }
    ) -> [UInt8] {
        var file = BuiltFile()
        file.addSection(isBigEndian: true, version: version)
        build(&file)
        return file.bytes
    }

    @Test(
        "says what is wrong with a file",
        arguments: [
            ([], "too short to be a capture file"), ([1, 2, 3], "too short to be a capture file"),
            (Gzip.member([1]), "too short to be a capture file"),
            (Array("GET / HTTP/1.1".utf8), "neither a pcap nor a pcapng file"),
            (
                pcap(isBigEndian: false, isNano: false).prefix(32) + [
                    255, 255, 255, 255, 0, 0, 0, 0,
                ],
                "a packet of 4294967295 bytes cannot be"
            ),
            (pcapng { $0.add(words: [1, 7, 0]) }, "a block of 7 bytes cannot be"),
            (pcapng { $0.add(words: [0xbad, 1, 0]) }, "a block of 1 byte cannot be"),
            (pcapng { $0.add(words: [1, 16, 0]) }, "a block of 16 bytes cannot be"),
            (
                pcapng { $0.add(words: [0xbad, 256 << 20 + 4, 0]) },
                "a block of 268435460 bytes cannot be"
            ),
            (pcapng(version: 2), "version 2 of pcapng is not known"),
            (
                pcapng { $0.add(words: [0x0a0d_0d0a, 28, 0x1a2b_3c4e]) },
                "a section in no byte order that is known"
            ),
            (
                pcapng { $0.addSimplePacket(wireByteCount: 4, [1, 2, 3, 4]) },
                "a packet that does not fit its block or names no interface"
            ),
            (
                pcapng {
                    $0.addInterface()
                    $0.addObsoletePacket(interface: 1, time: 0, [1])
                }, "a packet that does not fit its block or names no interface"
            ),
            // The header of a member, and a block of a kind that does not exist.
            (Gzip.member([1]).prefix(10) + [7, 0, 0, 0], "its gzip data are damaged"),
        ] as [([UInt8], String)])
    func broken(file: [UInt8], reason: String) throws {
        let (_, error) = try ReadFile.read(file)
        guard case .malformed(_, reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    @Test("says behind which packet a file is damaged", arguments: [1, 3])
    func damaged(count: Int) throws {
        var file = BuiltFile.pcap(isBigEndian: false, isNano: false, linkType: count == 1 ? 1 : 101)
        for _ in 0..<count { file.addRecord(seconds: 1, fraction: 2, Self.frame) }
        file.add(words: [1, 2, .max, .max])
        let (frames, error) = try ReadFile.read(file.bytes)
        #expect(frames.count == (count == 1 ? 1 : 0))
        guard case .malformed(_, let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(
            reason == "damaged after packet \(count): a packet of 4294967295 bytes cannot be")
    }

    @Test("knows a file that is appended to another one", arguments: files)
    func joined(file: [UInt8]) throws {
        for first in Self.files {
            let (frames, error) = try ReadFile.read(first + file)
            let areSections = [first, file].allSatisfy {
                $0.starts(with: [0x0a, 0x0d, 0x0d, 0x0a])
            }
            #expect(frames.count == (areSections ? 2 : 1))
            let text = error.map { "\($0)" } ?? ""
            #expect(text.contains("after packet 1: another capture file") != areSections, "\(text)")
        }
    }

    @Test(
        "says of other formats what they are, and what to do",
        arguments: [
            ([0x34, 0xcd, 0xb2, 0xa1], "a modified pcap file (Kuznetzov's)", "editcap -F pcapng"),
            ([0xa1, 0xb2, 0xcd, 0x34], "a modified pcap file (Kuznetzov's)", "editcap -F pcapng"),
            ([0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd", "zstd -dc"),
            ([0x04, 0x22, 0x4d, 0x18], "compressed with lz4", "lz4 -dc"),
            ([0xfd, 0x37, 0x7a, 0x58, 0x5a], "compressed with xz", "xz -dc"),
            (Array("BZh9".utf8), "compressed with bzip2", "bzip2 -dc"),
        ] as [([UInt8], String, String)])
    func foreign(file: [UInt8], name: String, remedy: String) throws {
        let (_, error) = try ReadFile.read(file + [0, 0, 0, 0])
        let text = "\(error.map { "\($0)" } ?? "")"
        #expect(text.contains(name) && text.contains(remedy), "\(text)")
    }
}

/// A file that is read to its end.
enum ReadFile {
    /// A name that no other test has.
    static var newPath: String {
        "/tmp/podwire-reader-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    }

    /// Makes a file, and returns its path.
    static func make(_ content: [UInt8]) throws -> String {
        let path = newPath
        let descriptor = try Descriptor(creating: path)
        try writeAll(content, to: descriptor.fileDescriptor, path)
        return path
    }

    static func read(
        _ file: [UInt8]
    ) throws -> (frames: [CaptureReader.Frame], failure: CaptureReader.Failure?) {
        let path = try make(file)
        defer { try? removeFile(path) }
        return try read(path: path)
    }

    static func read(
        path: String
    ) throws -> (frames: [CaptureReader.Frame], failure: CaptureReader.Failure?) {
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
