import CaptureFiles
import Linux
import RPCAP
import Time

/// The capture files of a recording, or those of one link type: one, or one after the other.
///
/// Each file is complete in itself: it has its section, the interfaces of its packets, and their
/// statistics for the time of the file. So each can be read, moved or deleted alone.
final class FileSeries {
    /// The link type of all its packets; nil if they may have any.
    let linkType: UInt16?
    private let options: RecordingOptions
    private let snaplen: Int
    private var file: CaptureFile
    /// The files that are kept until they are the oldest.
    private var keptPaths: [String]
    private var fileNumber: Int
    private let firstNumber: Int
    private var filePacketCount = 0
    /// The bytes of names in the file.
    private var nameByteCount: UInt64 = 0
    /// When the file was begun, by both clocks; the wall clock in nanoseconds since 1970.
    private var fileBegin: (monotonic: MonotonicTime, wall: UInt64)
    private var finishedByteCount: UInt64 = 0
    /// The link type of all packets, once the first interface has given it to a format with but one.
    private(set) var onlyLinkType: UInt16?
    /// Packets of another link type, which such a format has no place for.
    private(set) var otherLinkTypeCount: UInt64 = 0

    /// Creates the first file.
    ///
    /// If files are rotated, their numbers continue those of earlier recordings of the same name.
    /// These files count as files that are kept.
    init(
        _ options: RecordingOptions, of linkType: UInt16?, snaplen: Int, now: MonotonicTime
    ) throws(SystemError) {
        let options = linkType.map { options.split(for: LinkTypeName.text($0)) } ?? options
        let present = try options.numbersPresent()
        let number = (present.last ?? 0) + 1
        let file = try options.file(number: number)
        (fileNumber, firstNumber) = (number, number)
        keptPaths = present.map { options.path(number: $0) }
        self.options = options
        self.linkType = linkType
        self.snaplen = snaplen
        fileBegin = (now, wallClockNanoseconds())
        self.file = file
    }

    /// What has been written so far.
    var summary: RecordedFiles {
        RecordedFiles(
            linkType: linkType, fileCount: fileNumber - firstNumber + 1,
            byteCount: finishedByteCount + file.gatheredByteCount, lastPath: file.path)
    }

    /// Describes a device in the current file, if that has not been done.
    ///
    /// Some programs want to know all interfaces before the first packet.
    func announce(_ device: SourceCounters) {
        if takes(device) { _ = interface(of: device) }
    }

    /// Whether the format has a place for packets of a device's link type.
    func takes(_ device: SourceCounters) -> Bool {
        onlyLinkType == nil || onlyLinkType == device.linkType
    }

    /// Adds a packet of a device.
    ///
    /// - Returns: Whether the format has a place for it.
    func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) -> Bool {
        guard takes(device) else {
            otherLinkTypeCount &+= 1
            return false
        }
        filePacketCount += 1
        let packet = CapturedPacket(
            interface: interface(of: device), nanoseconds: record.nanosecondsSince1970,
            // Some daemons say less than they send.
            wireByteCount: max(record.wireByteCount, frame.byteCount))
        file.add(packet, frame)
        return true
    }

    /// Adds names of addresses.
    func add(_ names: [AddressName]) {
        let byteCount = file.gatheredByteCount
        file.add(names)
        nameByteCount += file.gatheredByteCount - byteCount
    }

    /// Writes the buffer if enough has gathered to be worth a system call.
    func flushIfLarge() throws(SystemError) { try file.flushIfLarge() }

    /// Writes the buffer.
    func flush() throws(SystemError) { try file.flush() }

    /// Whether the file is due to be completed: it has packets, and is long or old enough.
    ///
    /// Names do not count: each file begins with all of them.
    func isRotationDue(now: MonotonicTime) -> Bool {
        filePacketCount > 0
            && options.isDue(
                byteCount: file.gatheredByteCount - nameByteCount, age: now - fileBegin.monotonic)
    }

    /// Completes the file and begins the next, if that is due.
    ///
    /// A file without packets goes on.
    ///
    /// - Parameters:
    ///   - devices: Those that have been captured from, with packets in this series.
    ///   - now: The time.
    /// - Returns: The file that was completed, if any.
    /// - Throws: If a file cannot be written or created.
    func rotateIfDue(
        _ devices: [SourceCounters], now: MonotonicTime
    ) throws(SystemError) -> Recording.Finished? {
        guard isRotationDue(now: now) else { return nil }
        var finished = try finish(devices)
        finishedByteCount += finished.byteCount
        if let countMax = options.keptFileCountMax {
            keptPaths.append(finished.path)
            // The next file is one of those that are kept.
            while keptPaths.count >= countMax {
                finished.problem = Self.remove(keptPaths.removeFirst())
            }
        }
        fileNumber += 1
        file = try options.file(number: fileNumber)
        (filePacketCount, nameByteCount) = (0, 0)
        fileBegin = (now, wallClockNanoseconds())
        for device in devices where owns(device) {
            device.beginFile()
            if device.isInFile { announce(device) }
        }
        return finished
    }

    /// Completes the file with the statistics of each interface, even if it had no packets.
    @discardableResult
    func finish(_ devices: [SourceCounters]) throws(SystemError) -> Recording.Finished {
        let end = wallClockNanoseconds()
        for device in devices where device.isInFile && owns(device) && takes(device) {
            file.add(
                InterfaceStatistics(
                    interface: interface(of: device), start: max(device.start, fileBegin.wall),
                    end: end, counts: device.countsInFile))
        }
        if file.lacksHeader {
            let ethernet = CaptureInterface(name: "", description: "", snaplen: snaplen)
            _ = file.addInterface(ethernet)
        }
        try file.flush()
        return Recording.Finished(
            path: file.path, byteCount: file.byteCount, packetCount: filePacketCount)
    }

    /// Whether a device's packets are in these files.
    func owns(_ device: SourceCounters) -> Bool { linkType == nil || linkType == device.linkType }

    /// Removes a file.
    ///
    /// One that is gone already is no error.
    private static func remove(_ path: String) -> SystemError? {
        do throws(SystemError) {
            try removeFile(path)
            return nil
        } catch {
            return error.errno == .noSuchFileOrDirectory ? nil : error
        }
    }

    /// The interface of a device in the current file, which is added if it was not announced.
    private func interface(of device: SourceCounters) -> Int {
        if let interface = device.interface { return interface }
        let interface = file.addInterface(
            CaptureInterface(
                name: device.name, description: device.description, snaplen: snaplen,
                linkType: device.linkType))
        device.interface = interface
        if !options.encoder.describesInterfaces { onlyLinkType = device.linkType }
        return interface
    }
}

/// What a recording has written, or its files of one link type.
package struct RecordedFiles: Equatable, Sendable {
    /// The link type of all packets; nil if they may have any.
    package let linkType: UInt16?
    package let fileCount: Int
    /// Bytes of all files, including those that have been deleted.
    package let byteCount: UInt64
    /// The current file, or the last one.
    package let lastPath: String
}
