import Addressing
import CaptureFiles
import Collector
import Glibc
import Linux
import RPCAP
import Synchronization
import Testing
import Time

@Suite("The outputs of a collector")
struct OutputsTests {
    /// A sink that remembers what it was given.
    private final class Memory: FrameSink, FrameSinkOptions {
        private struct Content {
            var frames: [[UInt8]] = []
            var flushCount = 0
            var isFinished = false
        }

        private let content = Mutex(Content())

        var frames: [[UInt8]] { content.withLock { $0.frames } }
        var flushCount: Int { content.withLock { $0.flushCount } }
        var isFinished: Bool { content.withLock { $0.isFinished } }

        func open() throws(SystemError) -> any FrameSink { self }

        func add(_ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, linkType: UInt16) {
            let bytes = [UInt8(wireByteCount), UInt8(linkType)] + frame.array
            content.withLock { $0.frames.append(bytes) }
        }

        func flush(now: MonotonicTime) { content.withLock { $0.flushCount += 1 } }
        var request: (fileDescriptor: CInt, interest: Readiness) { (-1, []) }
        func serve(_ ready: Readiness, now: MonotonicTime) {}
        func takeNews() -> [OutputNews] { [OutputNews("told", [:])] }

        var counts: OutputCounts {
            var counts = OutputCounts(kind: "memory", place: "here")
            counts.packetCount = UInt64(frames.count)
            return counts
        }

        func finish() { content.withLock { $0.isFinished = true } }
    }

    private func add(to outputs: Outputs, _ device: SourceCounters) throws {
        var stream = PacketStream(snaplen: 64)
        stream.append(
            [0, 7, 0, 0, 0, 0, 0, 25] + [0, 0, 0, 1, 0, 0, 0, 0]
                + [0, 0, 0, 5, 0, 0, 0, 9, 0, 0, 0, 1] + [1, 2, 3, 4, 5])
        #expect(try stream.next { outputs.add($1, $0, of: device) })
    }

    private func outputs(_ memory: Memory, path: String?) throws -> Outputs {
        var options = OutputOptions(recording: path.map { RecordingOptions(path: $0) })
        options.frameSinks = [memory]
        return try Outputs(options, snaplen: 64, now: .zero)
    }

    @Test("give frames to a sink, without any file")
    func sink() throws {
        let memory = Memory()
        let outputs = try outputs(memory, path: nil)
        let device = try outputs.makeCounters(
            named: "lo@h", description: "", linkType: 113, now: .zero)
        device.begin(now: .zero)
        outputs.announce(device)
        try add(to: outputs, device)
        outputs.deliver(now: .zero)
        #expect(memory.frames == [[9, 113, 1, 2, 3, 4, 5]] && memory.flushCount == 1)
        #expect(outputs.files.isEmpty && outputs.takeNews().map(\.text) == ["told"])
        #expect(outputs.counts == [memory.counts])
        #expect(outputs.otherLinkType(inFileOf: device) == nil)
        try outputs.finish(until: .now)
        #expect(memory.isFinished)
    }

    @Test("give up a file that fails, and go on with the others")
    func fullDisk() throws {
        let memory = Memory()
        let outputs = try outputs(memory, path: "/dev/full")
        let device = try outputs.makeCounters(
            named: "lo@h", description: "", linkType: 1, now: .zero)
        try add(to: outputs, device)
        try outputs.flush(now: .zero)
        let news = outputs.takeNews()
        #expect(news.first?.text == "file given up" && news.first?.isWarning == true)
        try add(to: outputs, device)
        try outputs.flush(now: .zero)
        try outputs.finish(until: .now)
        #expect(memory.frames.count == 2)
        // The packet that was not written is lost, too.
        #expect(outputs.counts[0].losses == [OutputCounts.Loss("file given up", 2)])
        #expect(outputs.counts[0].packetCount == 0)
    }

    @Test("want no more packets than were asked for, and leave out what comes then")
    func count() throws {
        let memory = Memory()
        var options = OutputOptions()
        options.frameSinks = [memory]
        options.packetCountMax = 2
        let outputs = try Outputs(options, snaplen: 64, now: .zero)
        let device = try outputs.makeCounters(
            named: "lo@h", description: "", linkType: 1, now: .zero)
        for number in 0..<4 {
            #expect((outputs.ending == .complete) == (number >= 2))
            device.add([1, 2, 3, 4, 5].wire)
            try add(to: outputs, device)
        }
        #expect(memory.frames.count == 2)
        let statistics = device.statistics(now: .zero)
        #expect(statistics.packetCount == 2 && statistics.byteCount == 10)
    }

    @Test("end with the failure of a file that is the only one")
    func onlyFile() throws {
        let outputs = try Outputs(
            OutputOptions(recording: RecordingOptions(path: "/dev/full")), snaplen: 64, now: .zero)
        #expect(throws: SystemError("write /dev/full", Errno(rawValue: ENOSPC))) {
            try outputs.flush(now: .zero)
        }
    }
}
