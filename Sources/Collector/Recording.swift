package import CaptureFiles

import Addressing
import Glibc
import Linux
import RPCAP

/// What a collector writes: one capture file, or one after the other.
///
/// Each file is complete in itself: its section, the interfaces whose packets it has, and their
/// statistics for the time of that file. So each can be read, moved or deleted alone.
struct Recording: ~Copyable {
    private let options: RecordingOptions
    private let snaplen: Int
    private var file: CaptureFile
    private(set) var tallies: [Tally] = []
    /// Files to be deleted when they are the oldest; as many as are to be kept.
    private var keptPaths: [String] = []
    private var fileNumber: Int
    private let firstNumber: Int
    private var filePacketCount = 0
    /// When the file was begun, by the monotonic clock and in nanoseconds since 1970.
    private var fileBegin: (monotonic: UInt64, wall: UInt64)
    private var finishedByteCount: UInt64 = 0

    /// More devices than a collector has agents for, many times over. An agent that comes with one
    /// new name after the other is made to fill memory.
    static let tallyCountMax = 4096

    /// Creates the first file. One that rotates goes on behind the files of earlier recordings of the
    /// same name, which count as its own where only so many are to be kept.
    init(_ options: RecordingOptions, snaplen: Int) throws(SystemError) {
        let present = try options.numbersPresent()
        let number = (present.last ?? 0) + 1
        file = try options.file(number: number)
        (fileNumber, firstNumber) = (number, number)
        keptPaths = present.map { options.path(number: $0) }
        self.options = options
        self.snaplen = snaplen
        fileBegin = (monotonicNanoseconds(), wallClockNanoseconds())
    }

    var fileCount: Int { fileNumber - firstNumber + 1 }

    /// The file that is being written.
    var path: String { file.path }

    /// Bytes of all files, those that have been deleted among them.
    var byteCount: UInt64 { finishedByteCount + file.gatheredByteCount }

    /// The tally of an agent's device; one that comes back has the same again. Nil if there are too
    /// many.
    mutating func tally(
        named name: String, description: String, linkType: UInt16
    ) -> Tally? {
        if let known = tallies.first(where: { $0.name == name && $0.linkType == linkType }) {
            return known
        }
        guard tallies.count < Self.tallyCountMax else { return nil }
        let tally = Tally(
            name: name, description: description, linkType: linkType,
            start: wallClockNanoseconds())
        tallies.append(tally)
        return tally
    }

    mutating func add(_ frame: RawSpan, _ record: PacketRecord, of tally: Tally) {
        filePacketCount += 1
        let packet = CapturedPacket(
            interface: interface(of: tally), nanoseconds: record.nanosecondsSince1970,
            wireByteCount: record.wireByteCount)
        file.add(packet, frame)
    }

    /// Writes if enough has gathered to make it worth while.
    mutating func flushIfLarge() throws(SystemError) { try file.flushIfLarge() }

    mutating func flush() throws(SystemError) { try file.flush() }

    /// A file that is complete.
    struct Finished {
        let path: String
        let byteCount: UInt64
        let packetCount: Int
        /// Why the oldest file is still there, if it is.
        var problem: SystemError?
    }

    /// Completes the file and begins the next, if that is due. One without packets is kept.
    mutating func rotateIfDue(now: UInt64) throws(SystemError) -> Finished? {
        guard filePacketCount > 0, options.isDue(file.gatheredByteCount, now - fileBegin.monotonic)
        else { return nil }
        var finished = try finish()
        finishedByteCount += finished.byteCount
        if let countMax = options.keptFileCountMax {
            keptPaths.append(finished.path)
            // The file that is about to begin is one of those that are kept.
            while keptPaths.count >= countMax {
                finished.problem = Self.remove(keptPaths.removeFirst())
            }
        }
        fileNumber += 1
        file = try options.file(number: fileNumber)
        filePacketCount = 0
        fileBegin = (monotonicNanoseconds(), wallClockNanoseconds())
        for tally in tallies {
            tally.interface = nil
            tally.isInFile = tally.capturingSince != nil
            tally.countsBefore = tally.counts
        }
        return finished
    }

    /// A file that somebody else has taken away is gone as well.
    private static func remove(_ path: String) -> SystemError? {
        do throws(SystemError) {
            try removeFile(path)
            return nil
        } catch {
            return error.errno == .noSuchFileOrDirectory ? nil : error
        }
    }

    /// Completes the file: statistics for each interface, also of agents that had no packets.
    @discardableResult
    mutating func finish() throws(SystemError) -> Finished {
        let end = wallClockNanoseconds()
        for tally in tallies where tally.isInFile {
            file.add(
                InterfaceStatistics(
                    interface: interface(of: tally), start: max(tally.start, fileBegin.wall),
                    end: end, counts: tally.counts.since(tally.countsBefore)))
        }
        try file.flush()
        return Finished(
            path: file.path, byteCount: file.byteCount, packetCount: filePacketCount)
    }

    private mutating func interface(of tally: Tally) -> Int {
        if let interface = tally.interface { return interface }
        let interface = file.addInterface(
            CaptureInterface(
                name: tally.name, description: tally.description, snaplen: snaplen,
                linkType: tally.linkType))
        tally.interface = interface
        return interface
    }
}

/// Where a recording goes, and when a new file begins.
package struct RecordingOptions: Sendable {
    /// The file's name, or `"-"` for standard output.
    package let path: String
    /// A file that has grown to this is followed by the next, 256 KiB late at most.
    package var fileByteCountMax: UInt64?
    /// So old a file is followed by the next, a second late at most.
    package var fileTimeMax: Duration?
    /// How many files there are at most, the one being written among them.
    package var keptFileCountMax: Int?

    /// The format of its files.
    package let encoder: any CaptureEncoder

    package init(path: String, encoder: any CaptureEncoder = PcapngEncoder()) {
        (self.path, self.encoder) = (path, encoder)
    }

    /// Creates a file.
    func file(number: Int) throws(SystemError) -> CaptureFile {
        try CaptureFile(
            path: path(number: number), encoder: encoder, application: "podwire collect")
    }

    package var rotates: Bool { fileByteCountMax != nil || fileTimeMax != nil }

    func isDue(_ byteCount: UInt64, _ nanoseconds: UInt64) -> Bool {
        fileByteCountMax.map { byteCount >= $0 } ?? false
            || fileTimeMax.map { .nanoseconds(nanoseconds) >= $0 } ?? false
    }

    /// `"pods.pcapng"`, or the number 1 of those, `"pods-00001.pcapng"`.
    package func path(number: Int) -> String {
        guard rotates else { return path }
        let digits = "\(number)"
        let zeros = String(repeating: "0", count: max(0, Self.digitCountMin - digits.count))
        return parts.folder + parts.name + "-" + zeros + digits + parts.ending
    }

    private static let digitCountMin = 5
    /// A file with a longer number is somebody else's.
    private static let digitCountMax = 9

    /// The path with what comes before the number, and behind it.
    private var parts: (folder: String, name: String, ending: String) {
        let name = path.lastIndex(of: "/").map { path.index(after: $0) } ?? path.startIndex
        let dot = path[name...].lastIndex(of: ".").flatMap { $0 > name ? $0 : nil }
        let end = dot ?? path.endIndex
        return (String(path[..<name]), String(path[name..<end]), String(path[end...]))
    }

    /// The numbers of files that are there already, in order; none where files have no numbers.
    func numbersPresent() throws(SystemError) -> [Int] {
        guard rotates else { return [] }
        let (folder, name, ending) = parts
        let prefix = name + "-"
        return try fileNames(in: folder.isEmpty ? "." : folder).compactMap { file -> Int? in
            guard file.hasPrefix(prefix), file.hasSuffix(ending),
                file.utf8.count >= prefix.utf8.count + ending.utf8.count
            else { return nil }
            let digits = file.dropFirst(prefix.count).dropLast(ending.count)
            guard (Self.digitCountMin...Self.digitCountMax).contains(digits.utf8.count),
                digits.utf8.allSatisfy({ (0x30...0x39).contains($0) })
            else { return nil }
            return Int(digits)
        }.sorted()
    }
}
