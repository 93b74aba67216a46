import Collector
import Addressing
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

    private func write() throws {
        var file = try CaptureFile(path: path)
        let interface = file.addInterface(name: "a", description: "", snaplen: 64)
        let frame: [UInt8] = [1, 2, 3, 4, 5]
        file.add(frame.wire, interface: interface, nanoseconds: 0x1_0000_0002, wireByteCount: 9)
        var counts = InterfaceCounts()
        counts.received = 3
        counts.delivered = 1
        file.add(counts, interface: interface, start: 1, end: 2)
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
            + [3, 0, 0, 0] + [9, 0, 1, 0, 9, 0, 0, 0] + [0, 0, 0, 0, 44, 0, 0, 0]
        let packet: [UInt8] =
            [6, 0, 0, 0, 40, 0, 0, 0, 0, 0, 0, 0] + [1, 0, 0, 0, 2, 0, 0, 0] + [
                5, 0, 0, 0, 9, 0, 0, 0,
            ]
            + [1, 2, 3, 4, 5, 0, 0, 0] + [40, 0, 0, 0]
        let bytes = try Self.bytes(of: path)
        #expect(bytes.starts(with: section + interface + packet))
        #expect(bytes.count == 52 + 44 + 40 + 100)
        #expect(bytes[136..<144] == [5, 0, 0, 0, 100, 0, 0, 0])
    }

    @Test("says what failed when it cannot be made")
    func fails() {
        #expect(throws: SystemError("create /nowhere/x", .noSuchFileOrDirectory)) {
            _ = try CaptureFile(path: "/nowhere/x")
        }
    }
}
