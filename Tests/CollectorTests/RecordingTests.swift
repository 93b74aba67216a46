import Addressing
import Collector
import Glibc
import Linux
import RPCAP
import Testing
import Time

@Suite("A recording")
struct RecordingTests {
    /// A name that no other test has.
    private let name = "podwire-recording-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"

    private var files: [String] {
        ((try? fileNames(in: "/tmp")) ?? []).filter { $0.hasPrefix(name) }.sorted()
    }

    /// A packet of five bytes, as an agent sends it.
    private static let packet: [UInt8] =
        [0, 7, 0, 0, 0, 0, 0, 25] + [0, 0, 0, 1, 0, 0, 0, 0]
        + [0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1] + [1, 2, 3, 4, 5]

    @Test("begins a new file at the age that was asked for, and keeps as many as it may")
    func rotation() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        var now = MonotonicTime.zero + .seconds(7)
        var recording = try Recording(options, snaplen: 64, now: now)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let made = recording.makeCounters(named: "lo@h", description: "", linkType: 1)
        let device = try #require(made)
        device.begin(now: now)
        var stream = PacketStream(snaplen: 64)
        for number in 1...3 {
            // A file without packets goes on.
            #expect(try recording.rotateIfDue(now: now + .seconds(3600)) == nil)
            stream.append(Self.packet[...])
            let isRead = try stream.next { record, frame in
                recording.add(frame, record, of: device)
            }
            #expect(isRead)
            #expect(try recording.rotateIfDue(now: now + .milliseconds(59_999)) == nil)
            now += .seconds(60)
            let finished = try #require(try recording.rotateIfDue(now: now))
            #expect(finished.path == "/tmp/\(name)-0000\(number).pcapng")
            #expect(finished.packetCount == 1 && finished.problem == nil)
            #expect(finished.byteCount > 0)
        }
        #expect(files == ["\(name)-00003.pcapng", "\(name)-00004.pcapng"])
        #expect(recording.fileCount == 4)
        try recording.finish()
    }

    @Test("has one set of counters for a device, and another for another link type")
    func devices() throws {
        let path = "/tmp/\(name)"
        var recording = try Recording(
            RecordingOptions(path: path), snaplen: 64, now: .zero)
        defer { try? removeFile(path) }
        let first = recording.makeCounters(named: "lo@h", description: "", linkType: 1)
        let again = recording.makeCounters(named: "lo@h", description: "", linkType: 1)
        let other = recording.makeCounters(named: "lo@h", description: "", linkType: 113)
        #expect(first === again && first !== other)
        #expect(try recording.rotateIfDue(now: .distantFuture) == nil)
    }
}
