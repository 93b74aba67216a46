import Addressing
import CaptureFiles
import Glibc
import Linux
import Testing

@Suite("A capture file")
struct CaptureFileTests {
    /// A name that no other test has.
    private let path = "/tmp/podwire-test-\(getpid())-\(UInt64.random(in: 0...UInt64.max)).pcapng"

    private static func bytes(of path: String) throws -> [UInt8] {
        let file = try Descriptor("open \(path)") { unsafe open(path, O_RDONLY) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = try call("read") { unsafe read(file.fileDescriptor, &bytes, bytes.count) }
        return Array(bytes.prefix(count))
    }

    private func write(_ encoder: any CaptureEncoder = PcapngEncoder()) throws {
        var file = try CaptureFile(path: path, encoder: encoder, application: "podwire collect")
        let interface = file.addInterface(
            CaptureInterface(name: "a", description: "", snaplen: 64))
        let frame: [UInt8] = [1, 2, 3, 4, 5]
        file.add(
            CapturedPacket(interface: interface, nanoseconds: 0x1_0000_0002, wireByteCount: 9),
            frame.wire)
        var counts = InterfaceCounts()
        counts.received = 3
        counts.delivered = 1
        file.add(InterfaceStatistics(interface: interface, start: 1, end: 2, counts: counts))
        try file.flush()
    }

    @Test("is made of blocks as the format's draft has them")
    func golden() throws {
        try write()
        defer { unsafe _ = unlink(path) }
        let application = "podwire collect".utf8.map { $0 }
        let section: [UInt8] =
            [0x0a, 0x0d, 0x0d, 0x0a, 52, 0, 0, 0, 0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0]
            + [UInt8](repeating: 0xff, count: 8) + [4, 0, 15, 0] + application + [0]
            + [0, 0, 0, 0, 52, 0, 0, 0]
        let interface: [UInt8] =
            [1, 0, 0, 0, 44, 0, 0, 0, 1, 0, 0, 0, 64, 0, 0, 0] + [2, 0, 1, 0, 0x61, 0, 0, 0]
            + [3, 0, 0, 0] + [9, 0, 1, 0, 6, 0, 0, 0] + [0, 0, 0, 0, 44, 0, 0, 0]
        let packet: [UInt8] =
            // 0x1_0000_0002 ns are 4,294,967 µs.
            [6, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0] + [0, 0, 0, 0, 0x37, 0x89, 0x41, 0]
            + [5, 0, 0, 0, 9, 0, 0, 0]
            + [1, 2, 3, 4, 5, 0, 0, 0] + [40, 0, 0, 0]
        let bytes = try Self.bytes(of: path)
        #expect(bytes.starts(with: section + interface + packet))
        #expect(bytes.count == 52 + 44 + 40 + 100)
        #expect(bytes[136..<144] == [5, 0, 0, 0, 100, 0, 0, 0])
    }

    @Test("has names in blocks, each with a zero byte, cut where no host's name is as long")
    func names() throws {
        let address = try #require(IPAddress("10.0.0.1"))
        var bytes: [UInt8] = []
        PcapngEncoder().appendNames([AddressName(address, "web.shop")], to: &bytes)
        #expect(
            bytes == [4, 0, 0, 0, 36, 0, 0, 0, 1, 0, 13, 0, 10, 0, 0, 1] + Array("web.shop".utf8)
                + [0, 0, 0, 0] + [0, 0, 0, 0, 36, 0, 0, 0])
        bytes = []
        PcapngEncoder().appendNames([], to: &bytes)
        #expect(bytes.isEmpty)
        let long = try #require(IPAddress("fd00::1"))
        let name = String(repeating: "a", count: 1000)
        let all = Array(repeating: AddressName(long, "\0\(name)"), count: 1001)
        PcapngEncoder().appendNames(all, to: &bytes)
        // Two blocks, of 1,000 records of 4 + 16 + 252 + 1 bytes and of one, each a multiple of four.
        #expect(bytes.count == 1001 * 276 + 2 * 16)
    }

    /// A format that is none of podwire's: a letter for each thing that is recorded.
    private struct Letters: CaptureEncoder {
        var fileExtension: String { "letters" }
        var describesInterfaces: Bool { true }
        func appendSection(to bytes: inout [UInt8], application: String) {
            bytes += application.utf8
        }
        func appendInterface(_ interface: CaptureInterface, to bytes: inout [UInt8]) {
            bytes += "i".utf8
        }
        func appendPacket(_ packet: CapturedPacket, _ frame: RawSpan, to bytes: inout [UInt8]) {
            bytes += "p".utf8
        }
        func appendStatistics(_ statistics: InterfaceStatistics, to bytes: inout [UInt8]) {
            bytes += "s".utf8
        }
        var packetByteCountMax: Int { 1 }
        var statisticsByteCount: Int { 1 }
        func wholePart(of bytes: [UInt8], byteCountMax: Int, isBeginning: Bool) -> WholePart {
            WholePart()
        }
    }

    /// `reordercap` of Wireshark 4.0 knows the interfaces up to the first block of another kind.
    @Test("has names behind all interfaces that are known before the first packet")
    func namesAreLate() throws {
        var file = try CaptureFile(path: path, application: "podwire collect")
        defer { unsafe _ = unlink(path) }
        for name in ["a", "b"] {
            _ = file.addInterface(CaptureInterface(name: name, description: "", snaplen: 64))
            file.add([AddressName(IPAddress(ipv4: 1), name)])
        }
        let gathered = file.gatheredByteCount
        file.add(
            CapturedPacket(interface: 1, nanoseconds: 1, wireByteCount: 1), ([1] as [UInt8]).wire)
        #expect(file.gatheredByteCount == gathered + 36)
        file.add([AddressName(IPAddress(ipv4: 2), "c")])
        try file.flush()
        var (kinds, place) = ([UInt8](), 0)
        let bytes = try Self.bytes(of: path)
        while place < bytes.count {
            kinds.append(bytes[place])
            place += Int(bytes[place + 4]) | Int(bytes[place + 5]) << 8
        }
        #expect(kinds == [0x0a, 1, 1, 4, 4, 6, 4])
    }

    @Test("is a header and records as pcap has them")
    func goldenPcap() throws {
        try write(PcapEncoder())
        defer { unsafe _ = unlink(path) }
        let header: [UInt8] =
            [0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0] + [0, 0, 0, 0, 0, 0, 0, 0]
            + [64, 0, 0, 0, 1, 0, 0, 0]
        // 0x1_0000_0002 ns are 4 s and 294,967,298 ns.
        let packet: [UInt8] =
            [4, 0, 0, 0, 0x02, 0xd8, 0x94, 0x11] + [5, 0, 0, 0, 9, 0, 0, 0] + [1, 2, 3, 4, 5]
        #expect(try Self.bytes(of: path) == header + packet)
    }

    @Test("has one header as pcap, however many interfaces there are")
    func interfacesOfPcap() throws {
        var file = try CaptureFile(path: path, encoder: PcapEncoder(), application: "")
        defer { unsafe _ = unlink(path) }
        let lackedHeader = file.lacksHeader
        for name in ["a", "b"] {
            _ = file.addInterface(CaptureInterface(name: name, description: "", snaplen: 64))
        }
        let lacksHeader = file.lacksHeader
        #expect(lackedHeader && !lacksHeader)
        try file.flush()
        #expect(try Self.bytes(of: path).count == 24)
    }

    @Test("has the format that its encoder gives it")
    func otherFormat() throws {
        try write(Letters())
        defer { unsafe _ = unlink(path) }
        #expect(try Self.bytes(of: path) == Array("podwire collectips".utf8))
    }

    @Test("is read back as it was written", arguments: 1...20, CaptureFormat.allCases)
    func roundTrip(round: Int, format: CaptureFormat) throws {
        var file = try CaptureFile(path: path, encoder: format.encoder, application: "test")
        defer { unsafe _ = unlink(path) }
        var (expected, interfaces) = ([CaptureReader.Frame](), [Int]())
        for number in 0..<200 {
            if interfaces.isEmpty || number % 50 == 0 {
                interfaces.append(
                    file.addInterface(
                        CaptureInterface(name: "i\(number)", description: "é", snaplen: 64)))
            }
            let bytes = (0..<Int.random(in: 0...70)).map { _ in UInt8.random(in: 0...255) }
            // RPCAP has microseconds, and so has pcapng here.
            let nanoseconds = UInt64.random(in: 0...4_000_000_000_000_000) * 1000
            file.add(
                CapturedPacket(
                    interface: interfaces.randomElement() ?? 0, nanoseconds: nanoseconds,
                    wireByteCount: 1500), bytes.wire)
            expected.append(
                CaptureReader.Frame(nanoseconds: nanoseconds, bytes: bytes, wireByteCount: 1500))
        }
        try file.flush()
        var reader = try CaptureReader(path: path)
        var frames: [CaptureReader.Frame] = []
        while let frame = try reader.next() { frames.append(frame) }
        #expect(frames == expected && !reader.isCutShort)
        #expect(reader.application == (format == .pcapng ? "test" : ""))
    }

    @Test(
        "knows where the last whole thing ends, wherever it is cut",
        arguments: CaptureFormat.allCases)
    func wholeParts(format: CaptureFormat) {
        let encoder = format.encoder
        var (bytes, ends) = ([UInt8](), [(byteCount: Int, packetCount: Int)]())
        var packetCount = 0
        func note() { ends.append((bytes.count, packetCount)) }
        encoder.appendSection(to: &bytes, application: "test")
        note()
        let interface = CaptureInterface(name: "a", description: "b", snaplen: 64)
        encoder.appendInterface(interface, to: &bytes)
        note()
        for length in 0..<20 {
            var packet = CapturedPacket(interface: 0, nanoseconds: 1000, wireByteCount: 99)
            packet.comment = length % 3 == 0 ? "why" : nil
            encoder.appendPacket(packet, [UInt8](repeating: 7, count: length).wire, to: &bytes)
            packetCount += 1
            note()
            if length % 7 == 0 {
                encoder.appendNames([AddressName(IPAddress(ipv4: 1), "x")], to: &bytes)
                note()
            }
        }
        for end in 0...bytes.count {
            let whole = encoder.wholePart(of: bytes, byteCountMax: end, isBeginning: true)
            let expected = ends.last { $0.byteCount <= end }
            #expect(whole.byteCount == expected?.byteCount ?? 0, "\(end)")
            #expect(whole.packetCount == expected?.packetCount ?? 0, "\(end)")
        }
    }

    @Test("can be read by its owner only, but one that was there stays as it was")
    func mode() throws {
        defer { unsafe _ = unlink(path) }
        for mode: UInt32 in [0o600, 0o640] {
            _ = try CaptureFile(path: path, application: "")
            #expect(try FileStamp(of: path).permissions == mode)
            unsafe _ = chmod(path, 0o640)
        }
        try replaceFile(path, with: [1])
        #expect(try FileStamp(of: path).permissions == 0o640)
        unsafe _ = unlink(path)
        try replaceFile(path, with: [1])
        #expect(try FileStamp(of: path).permissions == 0o600)
    }

    @Test("says what failed when it cannot be made")
    func fails() {
        #expect(throws: SystemError("create /nowhere/x", .noSuchFileOrDirectory)) {
            _ = try CaptureFile(path: "/nowhere/x", application: "")
        }
    }
}
