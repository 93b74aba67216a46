import Addressing
import CaptureFiles
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
        let recording = try Recording(options, snaplen: 64, now: now)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let device = Self.device("lo@h", 1)
        device.begin(now: now)
        for number in 1...3 {
            // A file without packets goes on.
            #expect(try recording.rotateIfDue([device], now: now + .seconds(3600)).isEmpty)
            try add(to: recording, device)
            #expect(try recording.rotateIfDue([device], now: now + .milliseconds(59_999)).isEmpty)
            now += .seconds(60)
            let finished = try #require(try recording.rotateIfDue([device], now: now).first)
            #expect(finished.path == "/tmp/\(name)-0000\(number).pcapng")
            #expect(finished.packetCount == 1 && finished.problem == nil)
            #expect(finished.byteCount > 0)
        }
        #expect(files == ["\(name)-00003.pcapng", "\(name)-00004.pcapng"])
        #expect(recording.files.map(\.fileCount) == [4] && recording.packetCount == 3)
        try recording.finish([device])
    }

    @Test("has files of their own for each link type, which rotate by themselves")
    func linkTypes() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        options.splitsLinkTypes = true
        let recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        #expect(files.isEmpty && recording.files.isEmpty)
        let devices = [1, 113, 1].enumerated().map { Self.device("\($0)@h", $1) }
        for device in devices {
            try recording.prepare(device.linkType, now: .zero)
            device.begin(now: .zero)
        }
        #expect(recording.otherLinkType(inFileOf: devices[1], among: devices) == nil)
        var now = MonotonicTime.zero
        for round in 1...3 {
            // Nothing comes from the second one later than the first round.
            for (number, device) in devices.enumerated() where number != 1 || round == 1 {
                try add(to: recording, device)
            }
            now += .seconds(60)
            let finished = try recording.rotateIfDue(devices, now: now)
            #expect(finished.map(\.packetCount) == (round == 1 ? [2, 1] : [2]))
        }
        try recording.finish(devices)
        #expect(
            files == ["00003", "00004"].map { "\(name)-EN10MB-\($0).pcapng" }
                + [
                    "00001", "00002",
                ].map { "\(name)-LINUX_SLL-\($0).pcapng" })
        #expect(recording.files.map(\.fileCount) == [4, 2])
        #expect(recording.files.map(\.linkType) == [1, 113])
    }

    @Test("counts packets of a second link type where the format has but one")
    func pcap() throws {
        let path = "/tmp/\(name).pcap"
        let recording = try Recording(
            RecordingOptions(path: path, encoder: PcapEncoder()), snaplen: 64, now: .zero)
        defer { try? removeFile(path) }
        let devices = [Self.device("a", 1), Self.device("b", 113)]
        for device in devices {
            recording.announce(device)
            device.begin(now: .zero)
            try add(to: recording, device)
        }
        #expect(recording.takes(devices[0]) && !recording.takes(devices[1]))
        #expect(recording.packetCount == 1 && recording.otherLinkTypeCount == 1)
        try recording.finish(devices)
        var reader = try CaptureReader(path: path)
        #expect(try reader.next()?.bytes == [1, 2, 3, 4, 5])
        #expect(try reader.next() == nil)
    }

    @Test(
        "is a file that programs read, though no packet has come", arguments: CaptureFormat.allCases
    )
    func empty(format: CaptureFormat) throws {
        let path = "/tmp/\(name).\(format)"
        let recording = try Recording(
            RecordingOptions(path: path, encoder: format.encoder), snaplen: 64, now: .zero)
        defer { try? removeFile(path) }
        try recording.finish([])
        var reader = try CaptureReader(path: path)
        #expect(try reader.next() == nil)
    }

    @Test("refuses one link type after the other")
    func tooManyLinkTypes() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.splitsLinkTypes = true
        let recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let countMax = UInt16(Recording.linkTypeCountMax)
        for number in 0..<countMax { try recording.prepare(200 + number, now: .zero) }
        #expect(files.count == Int(countMax) && files.contains("\(name)-LINKTYPE_200.pcapng"))
        #expect(throws: Recording.Failure.tooManyLinkTypes) {
            try recording.prepare(200 + countMax, now: .zero)
        }
    }

    private static func device(_ name: String, _ linkType: UInt16) -> SourceCounters {
        SourceCounters(name: name, description: "", linkType: linkType, start: 0)
    }

    private func add(to recording: Recording, _ device: SourceCounters) throws {
        var stream = PacketStream(snaplen: 64)
        stream.append(Self.packet[...])
        let isRead = try stream.next { record, frame in
            recording.add(frame, record, of: device)
        }
        #expect(isRead)
    }
}
