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
            #expect(try recording.rotateIfDue(now: now + .seconds(3600)).isEmpty)
            try add(to: recording, device)
            #expect(try recording.rotateIfDue(now: now + .milliseconds(59_999)).isEmpty)
            now += .seconds(60)
            let finished = try #require(try recording.rotateIfDue(now: now).first)
            #expect(finished.path == "/tmp/\(name)-0000\(number).pcapng")
            #expect(finished.packetCount == 1 && finished.problem == nil)
            #expect(finished.byteCount > 0)
        }
        #expect(files == ["\(name)-00003.pcapng", "\(name)-00004.pcapng"])
        #expect(recording.files.map(\.fileCount) == [4] && recording.packetCount == 3)
        try recording.finish()
    }

    @Test(
        "ends a file before the packet that would pass its size", arguments: CaptureFormat.allCases)
    func sizes(format: CaptureFormat) throws {
        var options = RecordingOptions(path: "/tmp/\(name).\(format)", encoder: format.encoder)
        options.fileByteCountMax = 4000
        let recording = try Recording(options, snaplen: 64, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let devices = (0..<9).map { Self.device("\($0)@host", 1) }
        for device in devices { device.begin(now: .zero) }
        for number in 0..<1000 { try add(to: recording, devices[number / 50 % devices.count]) }
        let finished = try recording.rotateIfDue(now: .zero)
        try recording.finish()
        #expect(finished.count > 3 && finished.count == files.count - 1)
        #expect(finished.allSatisfy { (3800...4000).contains($0.byteCount) })
        #expect(finished.reduce(0) { $0 + $1.packetCount } <= 1000 && recording.packetCount == 1000)
        var count = 0
        for file in files {
            var reader = try CaptureReader(path: "/tmp/\(file)")
            while try reader.next() != nil { count += 1 }
        }
        #expect(count == 1000)
    }

    @Test("goes on where names take more than a file may have")
    func manyNames() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileByteCountMax = 4000
        let known = KnownNames()
        known.add(
            (0..<200).map { AddressName(IPAddress(ipv4: $0), "a-long-name-of-a-pod-\($0).shop") })
        let recording = try Recording(options, snaplen: 64, known, now: .zero)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        let device = Self.device("lo@h", 1)
        device.begin(now: .zero)
        for _ in 0..<100 { try add(to: recording, device) }
        let finished = try recording.rotateIfDue(now: .zero)
        #expect((2...4).contains(finished.count))
    }

    @Test("deletes only what it or a run before it has kept")
    func keptFiles() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        func run(keeping countMax: Int?, _ count: Int) throws {
            options.keptFileCountMax = countMax
            let recording = try Recording(options, snaplen: 64, now: .zero)
            let device = Self.device("lo@h", 1)
            device.begin(now: .zero)
            for _ in 0..<count {
                try add(to: recording, device)
                _ = try recording.rotateIfDue(now: .zero, isAsked: true)
            }
            try add(to: recording, device)
            try recording.finish()
        }
        func numbers() -> [Int] {
            files.compactMap { Int($0.dropLast(".pcapng".count).suffix(5)) }
        }
        defer { removeIndex(options) }
        try run(keeping: nil, 2)
        #expect(numbers() == [1, 2, 3])
        try run(keeping: 2, 2)
        #expect(numbers() == [1, 2, 3, 5, 6])
        // Another run deletes at once, so that one that is started again and again fills no disk.
        try run(keeping: 2, 0)
        #expect(numbers() == [1, 2, 3, 6, 7])
        // Numbers that come again are not those of files that may go.
        for number in 6...7 { try removeFile("/tmp/\(name)-0000\(number).pcapng") }
        try run(keeping: nil, 3)
        #expect(numbers() == [1, 2, 3, 4, 5, 6, 7])
        try run(keeping: 2, 5)
        #expect(numbers() == [1, 2, 3, 4, 5, 6, 7, 12, 13])
    }

    @Test("counts nothing twice if the next file cannot be begun")
    func noNextFile() throws {
        let folder = "/tmp/\(name)"
        try makeFolder(folder)
        var options = RecordingOptions(path: "\(folder)/x.pcapng")
        options.fileByteCountMax = 4000
        let recording = try Recording(options, snaplen: 64, now: .zero)
        let device = Self.device("lo@h", 1)
        device.begin(now: .zero)
        try add(to: recording, device)
        try removeFile("\(folder)/x-00001.pcapng")
        unsafe _ = rmdir(folder)
        for _ in 0..<200 { try add(to: recording, device) }
        #expect(throws: SystemError("create \(folder)/x-00002.pcapng", .noSuchFileOrDirectory)) {
            _ = try recording.rotateIfDue(now: .zero)
        }
        #expect((1..<100).contains(recording.packetCount))
        #expect(recording.files.map(\.fileCount) == [1])
    }

    @Test("deletes nothing that a damaged index names and the recording could not have written")
    func damagedIndex() throws {
        let own = "\(name)-00001.pcapng"
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        for file in [own, "\(name).pcapng", "\(name)-x.pcapng"] {
            _ = try Descriptor(creating: "/tmp/\(file)")
        }
        try Recording(options, snaplen: 64, now: .zero).finish()
        defer { removeIndex(options) }
        let lines = [
            "../tmp/\(own)", "\(name).pcapng", "\(name)-x.pcapng", "\0", "/etc/passwd", "",
        ]
        try replaceFile(options.indexPath, with: Array(lines.joined(separator: "\n").utf8))
        try Recording(options, snaplen: 64, now: .zero).finish()
        #expect(files == [own, "\(name)-x.pcapng", "\(name).pcapng"])
    }

    @Test("marks the first packet behind a time in which the agent was gone")
    func gap() throws {
        let path = "/tmp/\(name).pcapng"
        let recording = try Recording(RecordingOptions(path: path), snaplen: 64, now: .zero)
        defer { try? removeFile(path) }
        let device = Self.device("lo@h", 1)
        for _ in 0..<2 {
            device.begin(now: .zero)
            for _ in 0..<2 { try add(to: recording, device) }
            device.end(.gone, now: .zero)
        }
        try recording.finish()
        let text = String(decoding: try readFile(path, byteCountMax: 1 << 16), as: UTF8.self)
        #expect(text.split(separator: "podwire: nothing was captured here for 0 ms").count == 2)
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
        try recording.finish()
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
        recording.announce(Self.device("lo@h", 1))
        try recording.finish()
        var reader = try CaptureReader(path: path)
        #expect(try reader.next() == nil)
        #expect(recording.files.map(\.fileCount) == [1])
    }

    @Test("leaves no file behind where nobody has captured anything, but one that was there before")
    func unused() throws {
        let path = "/tmp/\(name).pcapng"
        let recording = try Recording(RecordingOptions(path: path), snaplen: 64, now: .zero)
        #expect(files.count == 1)
        try recording.finish()
        #expect(files.isEmpty && recording.files.isEmpty)
        _ = try Descriptor(creating: path)
        defer { try? removeFile(path) }
        try Recording(RecordingOptions(path: path), snaplen: 64, now: .zero).finish()
        #expect(files.count == 1)
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

    @Test("leaves files alone that come to have its next numbers, and symbolic links as well")
    func takenNumbers() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        defer { removeIndex(options) }
        let recording = try Recording(options, snaplen: 64, now: .zero)
        let others = [2, 3].map { "/tmp/\(name)-0000\($0).pcapng" }
        try replaceFile(others[0], with: [1, 2, 3])
        unsafe _ = symlink("/tmp/\(name)-elsewhere", others[1])
        let device = Self.device("lo@h", 1)
        device.begin(now: .zero)
        for _ in 0..<3 {
            try add(to: recording, device)
            _ = try recording.rotateIfDue(now: .zero, isAsked: true)
        }
        try recording.finish()
        #expect(
            files == ["00002", "00003", "00005", "00006"].map { "\(name)-\($0).pcapng" })
        #expect(try readFile(others[0], byteCountMax: 9) == [1, 2, 3])
        #expect(recording.files.map(\.fileCount) == [4])
    }

    @Test("keeps no files beside another recording of the same name that does")
    func lock() throws {
        var options = RecordingOptions(path: "/tmp/\(name).pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        defer { for file in files { try? removeFile("/tmp/\(file)") } }
        defer { removeIndex(options) }
        let first = try Recording(options, snaplen: 64, now: .zero)
        let error = #expect(throws: SystemError.self) {
            _ = try Recording(options, snaplen: 64, now: .zero)
        }
        #expect(error?.errno == .wouldBlock && error?.operation.contains("--keep") ?? false)
        options.keptFileCountMax = nil
        try Recording(options, snaplen: 64, now: .zero).finish()
        try first.finish()
    }

    @Test("believes no index that others can write", arguments: [0o777, 0o770])
    func foreignIndex(mode: mode_t) throws {
        let folder = "/tmp/\(name)"
        try makeFolder(folder)
        var options = RecordingOptions(path: "\(folder)/x.pcapng")
        options.fileTimeMax = .seconds(60)
        options.keptFileCountMax = 2
        try makeFolder("\(folder)/.podwire")
        unsafe _ = chmod("\(folder)/.podwire", mode)
        let error = #expect(throws: SystemError.self) {
            _ = try Recording(options, snaplen: 64, now: .zero)
        }
        #expect(error?.errno == .notPermitted)
        unsafe _ = rmdir("\(folder)/.podwire")
        unsafe _ = symlink("/tmp", "\(folder)/.podwire")
        #expect(throws: SystemError.self) { _ = try Recording(options, snaplen: 64, now: .zero) }
        try removeFile("\(folder)/.podwire")
        unsafe _ = rmdir(folder)
    }

    private func removeIndex(_ options: RecordingOptions) {
        for path in [options.indexPath, options.lockPath] { try? removeFile(path) }
    }

    private static func device(_ name: String, _ linkType: UInt16) -> SourceCounters {
        SourceCounters(name: name, description: "", linkType: linkType, start: 0)
    }

    private func add(to recording: Recording, _ device: SourceCounters) throws {
        var stream = PacketStream(snaplen: 64)
        stream.append(Self.packet[...])
        let isRead = try stream.next { record, frame in
            device.noteArrival(record.nanosecondsSince1970)
            recording.add(frame, record, of: device)
        }
        #expect(isRead)
    }
}
