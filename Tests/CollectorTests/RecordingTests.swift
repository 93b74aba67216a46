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
        let device = try recording.makeCounters(
            named: "lo@h", description: "", linkType: 1, now: now)
        device.begin(now: now)
        for number in 1...3 {
            // A file without packets goes on.
            #expect(try recording.rotateIfDue(now: now + .seconds(3600)).isEmpty)
            try add(to: &recording, device)
            #expect(try recording.rotateIfDue(now: now + .milliseconds(59_999)).isEmpty)
            now += .seconds(60)
            let finished = try #require(try recording.rotateIfDue(now: now).first)
            #expect(finished.path == "/tmp/\(name)-0000\(number).pcapng")
            #expect(finished.packetCount == 1 && finished.problem == nil)
            #expect(finished.byteCount > 0)
        }
        #expect(files == ["\(name)-00003.pcapng", "\(name)-00004.pcapng"])
        #expect(recording.files.map(\.fileCount) == [4])
        try recording.finish()
    }

    @Test("has one set of counters for a device, and another for another link type")
    func devices() throws {
        let path = "/tmp/\(name)"
        var recording = try Recording(
            RecordingOptions(path: path), snaplen: 64, now: .zero)
        defer { try? removeFile(path) }
        func counters(
            _ linkType: UInt16, taken: [SourceCounters] = []
        ) throws -> SourceCounters {
            try recording.makeCounters(
                named: "lo@h", description: "", linkType: linkType, now: .zero
            ) { counters in taken.contains { $0 === counters } }
        }
        let first = try counters(1)
        let (again, other) = (try counters(1), try counters(113))
        #expect(first === again && first !== other)
        #expect(recording.otherLinkType(inFileOf: other) == nil)
        first.begin(now: .zero)
        #expect(recording.otherLinkType(inFileOf: other) == 1)
        #expect(recording.otherLinkType(inFileOf: first) == nil)
        #expect(try recording.rotateIfDue(now: .distantFuture).isEmpty)
        // A second agent of the same name while the first one captures, and a third.
        let second = try counters(1, taken: [first])
        let third = try counters(1, taken: [first, second])
        #expect([second, third].map { $0.statistics(now: .zero).name } == ["lo@h#2", "lo@h#3"])
        // The next agent has the place of the one that has gone.
        let next = try counters(1, taken: [first, third])
        #expect(next === second)
    }

    @Test("gives the places of devices that are gone to new ones, once their file is complete")
    func reuse() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        var recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        func counters(_ number: Int) throws -> SourceCounters {
            try recording.makeCounters(
                named: "lo@\(number)", description: "", linkType: 1, now: .zero)
        }
        let all = try (0..<Recording.deviceCountMax).map { try counters($0) }
        for device in all { device.begin(now: .zero) }
        for device in all[1...] { device.end(.gone, now: .zero) }
        #expect(throws: Recording.Failure.self) { try counters(-1) }
        try add(to: &recording, all[0])
        #expect(try recording.rotateIfDue(now: .zero + .seconds(60)).count == 1)
        let new = try counters(-1)
        #expect(!all.contains { $0 === new })
        // The one that captures keeps its place; the first one that is gone has lost it.
        #expect(try counters(0) === all[0])
        #expect(try counters(2) === all[2])
        #expect(try counters(1) !== all[1])
        try recording.finish()
    }

    @Test("has files of their own for each link type, which rotate by themselves")
    func linkTypes() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        options.splitsLinkTypes = true
        var recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        #expect(files.isEmpty && recording.files.isEmpty)
        let devices = try [1, 113, 1].enumerated().map { number, linkType in
            try recording.makeCounters(
                named: "\(number)@h", description: "", linkType: linkType, now: .zero)
        }
        for device in devices { device.begin(now: .zero) }
        #expect(recording.otherLinkType(inFileOf: devices[1]) == nil)
        var now = MonotonicTime.zero
        for round in 1...3 {
            // Nothing comes from the second one later than the first round.
            for (number, device) in devices.enumerated() where number != 1 || round == 1 {
                try add(to: &recording, device)
            }
            now += .seconds(60)
            let finished = try recording.rotateIfDue(now: now)
            #expect(finished.map(\.packetCount) == (round == 1 ? [2, 1] : [2]))
        }
        try recording.finish()
        #expect(
            files == ["00003", "00004"].map { "\(name)-EN10MB-\($0).pcapng" }
                + [
                    "00001", "00002",
                ].map { "\(name)-LINUX_SLL-\($0).pcapng" })
        #expect(recording.files.map(\.fileCount) == [4, 2])
        #expect(recording.files.map(\.linkType) == [1, 113])
    }

    @Test("refuses one link type after the other")
    func tooManyLinkTypes() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.splitsLinkTypes = true
        var recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let countMax = UInt16(Recording.linkTypeCountMax)
        for number in 0..<countMax {
            _ = try recording.makeCounters(
                named: "x@h", description: "", linkType: 200 + number, now: .zero)
        }
        #expect(files.count == Int(countMax) && files.contains("\(name)-LINKTYPE_200.pcapng"))
        #expect(throws: Recording.Failure.tooManyLinkTypes) {
            try recording.makeCounters(
                named: "x@h", description: "", linkType: 200 + countMax, now: .zero)
        }
    }

    private func add(to recording: inout Recording, _ device: SourceCounters) throws {
        var stream = PacketStream(snaplen: 64)
        stream.append(Self.packet[...])
        let isRead = try stream.next { record, frame in
            recording.add(frame, record, of: device)
        }
        #expect(isRead)
    }
}
