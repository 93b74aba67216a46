import CaptureFiles
import Linux
import Logging
import RPCAP
import Time

/// The capture files of a recording, or those of one link type: one, or one after the other.
///
/// Each file is complete in itself: it has its section, the interfaces of its packets, and their
/// statistics for the time of the file. So each can be read, moved or deleted alone. A file ends before
/// the packet that would make it too long. What fails then is thrown by the next call that can throw.
final class FileSeries {
    /// The link type of all its packets; nil if they may have any.
    let linkType: UInt16?
    private let options: RecordingOptions
    private let snaplen: Int
    /// The names that a file begins with.
    private let names: KnownNames
    private var file: CaptureFile
    /// The files that may be deleted; nil if none is.
    private var kept: KeptFiles?
    private var fileNumber: Int
    private let firstNumber: Int
    private var fileCount = 1
    private var filePacketCount = 0
    /// The size that no packet takes the file beyond.
    private var byteCountMax: UInt64
    /// The bytes of names in the file.
    private var nameByteCount: UInt64 = 0
    /// What the format takes for a packet beside its frame, and for the statistics of an interface.
    private let packetByteCountMax: Int
    private let statisticsByteCount: Int
    /// The devices that are described in the file, by their numbers there.
    private var devices: [SourceCounters] = []
    /// When the file was begun, by both clocks; the wall clock in nanoseconds since 1970.
    private var fileBegin: (monotonic: MonotonicTime, wall: UInt64)
    private var finishedByteCount: UInt64 = 0
    /// Packets in the files of before.
    private var finishedPacketCount: UInt64 = 0
    /// Files that were completed, until they are taken.
    private var finished: [Recording.Finished] = []
    /// Why a file could not be completed or begun.
    private var failure: SystemError?
    private var news: [OutputNews] = []
    /// Packets that were not written, since a file has failed.
    private(set) var lostCount: UInt64 = 0
    /// The link type of all packets, once the first interface has given it to a format with but one.
    private(set) var onlyLinkType: UInt16?
    /// Packets of another link type, which such a format has no place for.
    private(set) var otherLinkTypeCount: UInt64 = 0
    /// Whether the current file has failed, or is complete at the end.
    private var isOver = false
    /// Lines about files that are deleted early, and about those that could not be deleted.
    private var deletionLines = DeletionLines()
    /// Whether its only file was removed, as nothing had been captured.
    private(set) var isRemoved = false

    /// Creates the first file.
    ///
    /// If files are rotated, their numbers continue those of earlier recordings of the same name. Files
    /// that an earlier run has kept count as kept.
    init(
        _ options: RecordingOptions, of linkType: UInt16?, snaplen: Int, _ names: KnownNames,
        now: MonotonicTime
    ) throws(SystemError) {
        let options = linkType.map { options.split(for: LinkTypeName.text($0)) } ?? options
        let present = try options.numbersPresent()
        var number = (present.last ?? 0) + 1
        var kept: KeptFiles?
        var news: [OutputNews] = []
        if let countMax = options.keptFileCountMax {
            var files = try KeptFiles(options, present: present)
            if let problem = files.makePlace(countMax: countMax) {
                news.append(
                    OutputNews("file not deleted", ["reason": "\(problem)"], isWarning: true))
            }
            kept = files
        } else if options.rotates {
            try KeptFiles.forgetAbsent(options, present: present)
        }
        var lines = DeletionLines()
        let file = try Self.begin(&number, options, &kept, &lines, &news)
        (firstNumber, fileNumber) = (number, number)
        byteCountMax = options.fileByteCountMax ?? .max
        packetByteCountMax = options.encoder.packetByteCountMax
        statisticsByteCount = options.encoder.statisticsByteCount
        (self.kept, self.news, deletionLines) = (kept, news, lines)
        self.options = options
        self.linkType = linkType
        self.snaplen = snaplen
        self.names = names
        fileBegin = (now, wallClockNanoseconds())
        self.file = file
        add(names.all)
    }

    /// What has been written so far.
    var summary: RecordedFiles {
        RecordedFiles(
            linkType: linkType, fileCount: fileCount, leftCount: leftCount,
            byteCount: finishedByteCount + file.gatheredByteCount, lastPath: file.path)
    }

    /// How many of its files have not been deleted; those of earlier runs have lesser numbers.
    private var leftCount: Int {
        kept.map { $0.numbers.count { $0 >= firstNumber } } ?? fileCount
    }

    /// The packets that have been written, or wait to be.
    var packetCount: UInt64 { finishedPacketCount + UInt64(filePacketCount) }

    /// Whether a device's packets are in these files.
    func owns(_ device: SourceCounters) -> Bool { linkType == nil || linkType == device.linkType }

    /// Whether the format has a place for packets of a device's link type.
    func takes(_ device: SourceCounters) -> Bool {
        onlyLinkType == nil || onlyLinkType == device.linkType
    }
}

/// What files have.
extension FileSeries {
    /// Describes a device in the current file, if that has not been done.
    ///
    /// Some programs want to know all interfaces before the first packet.
    func announce(_ device: SourceCounters) {
        if takes(device) { _ = interface(of: device) }
    }

    /// Adds a packet of a device.
    ///
    /// - Returns: Whether the format has a place for it.
    func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) -> Bool {
        guard takes(device) else {
            otherLinkTypeCount &+= 1
            return false
        }
        let nanoseconds = record.nanosecondsSince1970
        let comment = device.takeGap(before: nanoseconds)
        // Before the packet's place is made, since its description takes some as well.
        announce(device)
        makePlace(for: packetByteCountMax + frame.byteCount + (comment?.utf8.count ?? 0))
        guard failure == nil else {
            lostCount &+= 1
            return true
        }
        var packet = CapturedPacket(
            interface: interface(of: device), nanoseconds: nanoseconds,
            // Some daemons say less than they send.
            wireByteCount: max(record.wireByteCount, frame.byteCount))
        packet.comment = comment
        file.add(packet, frame)
        filePacketCount += 1
        device.fileCount &+= 1
        return true
    }

    /// Adds names of addresses.
    ///
    /// Each file begins with all names. They may take half of its size; where they take more, the file
    /// becomes longer by that.
    func add(_ names: [AddressName]) {
        let byteCount = file.gatheredByteCount
        file.add(names)
        guard let sizeMax = options.fileByteCountMax else { return }
        nameByteCount += file.gatheredByteCount - byteCount
        byteCountMax = sizeMax + (nameByteCount - min(nameByteCount, sizeMax / 2))
    }

    /// The interface of a device in the current file, which is added if it was not announced.
    private func interface(of device: SourceCounters) -> Int {
        if let interface = device.interface { return interface }
        var description = CaptureInterface(
            name: device.name, description: device.description, snaplen: snaplen,
            linkType: device.linkType)
        description.filter = options.filter
        if options.fileByteCountMax != nil {
            makePlace(for: options.encoder.byteCount(of: description) + statisticsByteCount)
        }
        let interface = file.addInterface(description)
        device.interface = interface
        device.isInFile = true
        devices.append(device)
        if !options.encoder.describesInterfaces { onlyLinkType = device.linkType }
        return interface
    }
}

/// Writing, and one file after the other.
extension FileSeries {
    /// Writes the buffer if enough has gathered to be worth a system call.
    func flushIfLarge() throws(SystemError) {
        if let failure { throw failure }
        try makingRoom { () throws(SystemError) in try file.flushIfLarge() }
    }

    /// Writes the buffer.
    func flush() throws(SystemError) {
        if let failure { throw failure }
        try makingRoom { () throws(SystemError) in try file.flush() }
    }

    /// Whether `rotateIfDue` has something to do or to return.
    ///
    /// A file without packets goes on, however old it is.
    func isRotationDue(now: MonotonicTime) -> Bool {
        !finished.isEmpty || failure != nil
            || filePacketCount > 0 && options.isDue(age: now - fileBegin.monotonic)
    }

    /// Completes the file and begins the next, if that is due or has been done already.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - isAsked: Whether the file is due as it has packets.
    /// - Returns: The files that were completed, each once.
    /// - Throws: If a file cannot be written or created.
    func rotateIfDue(
        now: MonotonicTime, isAsked: Bool = false
    ) throws(SystemError) -> [Recording.Finished] {
        if let failure { throw failure }
        if filePacketCount > 0, isAsked || options.isDue(age: now - fileBegin.monotonic) {
            try turnOver(now: now)
        }
        return takeFinished()
    }

    /// Takes the files that were completed.
    func takeFinished() -> [Recording.Finished] {
        defer { finished = [] }
        return finished
    }

    /// Completes the file with the statistics of each interface, even if it had no packets.
    ///
    /// The only file is removed if nothing has been captured, and no file was there before.
    func finish() throws(SystemError) {
        if let failure { throw failure }
        isOver = true
        guard devices.isEmpty, packetCount == 0, fileCount == 1, file.isNew else {
            return try complete()
        }
        try removeFile(file.path)
        isRemoved = true
    }

    /// Writes nothing any more, since a file has failed or nobody reads it.
    ///
    /// If it is the file of another series that has failed, this one is completed, as far as it can be.
    func giveUp() {
        if !isOver, failure == nil, file.path != "-" { try? finish() }
        lostCount &+= UInt64(file.waitingPacketCount)
        filePacketCount -= file.waitingPacketCount
        file.discardWaiting()
    }

    /// Takes what a person has to be told.
    func takeNews() -> [OutputNews] {
        defer { news = [] }
        return news
    }

    /// Begins the next file if the current one has packets and lacks room for more bytes.
    private func makePlace(for byteCount: Int) {
        let statistics = devices.count * statisticsByteCount
        guard filePacketCount > 0, failure == nil,
            file.gatheredByteCount &+ UInt64(byteCount + statistics) > byteCountMax
        else { return }
        do throws(SystemError) {
            try turnOver(now: .now)
        } catch {
            failure = error
        }
    }

    private func turnOver(now: MonotonicTime) throws(SystemError) {
        try complete()
        let problem = kept?.makePlace(countMax: options.keptFileCountMax ?? .max)
        finished.append(
            Recording.Finished(
                path: file.path, byteCount: file.byteCount, packetCount: filePacketCount,
                problem: problem.flatMap { deletionLines.recordFailure($0, now: now) ? $0 : nil }))
        var number = fileNumber + 1
        let next = try Self.begin(&number, options, &kept, &deletionLines, &news)
        finishedByteCount += file.byteCount
        finishedPacketCount += UInt64(filePacketCount)
        file = next
        fileNumber = number
        fileCount += 1
        (filePacketCount, nameByteCount) = (0, 0)
        fileBegin = (now, wallClockNanoseconds())
        let before = devices
        devices = []
        add(names.all)
        for device in before { device.beginFile() }
        for device in before where device.isInFile { announce(device) }
    }

    /// Writes all that belongs to the current file.
    private func complete() throws(SystemError) {
        let end = wallClockNanoseconds()
        for (number, device) in devices.enumerated() {
            file.add(
                InterfaceStatistics(
                    interface: number, start: max(device.start, fileBegin.wall), end: end,
                    counts: device.countsInFile))
        }
        if file.lacksHeader {
            let ethernet = CaptureInterface(name: "", description: "", snaplen: snaplen)
            _ = file.addInterface(ethernet)
        }
        try makingRoom { () throws(SystemError) in try file.flush() }
    }

    /// Creates a file, which may be deleted from then on if any may.
    ///
    /// A number that somebody else has taken meanwhile is passed over.
    private static func begin(
        _ number: inout Int, _ options: RecordingOptions, _ kept: inout KeptFiles?,
        _ lines: inout DeletionLines, _ news: inout [OutputNews]
    ) throws(SystemError) -> CaptureFile {
        while true {
            do throws(SystemError) {
                try kept?.add(number)
                if let file = try create(number, options) { return file }
                kept?.dropLast()
                number += 1
            } catch {
                try makeRoom(after: error, &kept, &lines, &news)
            }
        }
    }

    /// Creates a file; nil if its number is taken.
    private static func create(
        _ number: Int, _ options: RecordingOptions
    ) throws(SystemError) -> CaptureFile? {
        do throws(SystemError) {
            return try options.file(number: number)
        } catch {
            guard error.errno == .fileExists, options.rotates else { throw error }
            return nil
        }
    }

    /// Does what needs room on the disk.
    private func makingRoom(_ body: () throws(SystemError) -> Void) throws(SystemError) {
        while true {
            do throws(SystemError) {
                return try body()
            } catch {
                do throws(SystemError) {
                    try Self.makeRoom(after: error, &kept, &deletionLines, &news)
                } catch {
                    isOver = true
                    throw error
                }
            }
        }
    }

    /// Deletes the oldest file that may be, if the disk is full.
    ///
    /// - Throws: The error, if it is another one or no file may be deleted.
    private static func makeRoom(
        after error: SystemError, _ kept: inout KeptFiles?, _ lines: inout DeletionLines,
        _ news: inout [OutputNews]
    ) throws(SystemError) {
        guard error.errno == .noSpaceLeft || error.errno == .quotaExceeded,
            let path = kept?.removeOldest()
        else { throw error }
        if let line = lines.early(path, error, now: .now) { news.append(line) }
    }
}

/// What a recording has written, or its files of one link type.
package struct RecordedFiles: Equatable, Sendable {
    /// The link type of all packets; nil if they may have any.
    package let linkType: UInt16?
    package let fileCount: Int
    /// How many of the files have not been deleted.
    package let leftCount: Int
    /// Bytes of all files, including those that have been deleted.
    package let byteCount: UInt64
    /// The current file, or the last one.
    package let lastPath: String
}
