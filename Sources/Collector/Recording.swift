import Addressing
import CaptureFiles
import Glibc
package import Linux
package import RPCAP
package import Time

/// A recording: one capture file, or one after the other.
///
/// Each file is complete in itself: it has its section, the interfaces of its packets, and their
/// statistics for the time of the file. So each can be read, moved or deleted alone.
package struct Recording: ~Copyable {
    private let options: RecordingOptions
    private let snaplen: Int
    private var file: CaptureFile
    /// The counters of all devices that have been captured from.
    private(set) var counters: [SourceCounters] = []
    /// The files that are kept until they are the oldest.
    private var keptPaths: [String] = []
    private var fileNumber: Int
    private let firstNumber: Int
    private var filePacketCount = 0
    /// When the file was begun, by both clocks; the wall clock in nanoseconds since 1970.
    private var fileBegin: (monotonic: MonotonicTime, wall: UInt64)
    private var finishedByteCount: UInt64 = 0

    /// The most devices, many times as many as a collector has agents for.
    ///
    /// An agent that comes with one new name after the other must not fill the memory.
    static let deviceCountMax = 4096

    /// Creates the first file.
    ///
    /// If files are rotated, their numbers continue those of earlier recordings of the same name.
    /// These files count as files that are kept.
    package init(
        _ options: RecordingOptions, snaplen: Int, now: MonotonicTime
    ) throws(SystemError) {
        let present = try options.numbersPresent()
        let number = (present.last ?? 0) + 1
        file = try options.file(number: number)
        (fileNumber, firstNumber) = (number, number)
        keptPaths = present.map { options.path(number: $0) }
        self.options = options
        self.snaplen = snaplen
        fileBegin = (now, wallClockNanoseconds())
    }

    /// The number of files that have been begun.
    package var fileCount: Int { fileNumber - firstNumber + 1 }

    /// The current file.
    package var path: String { file.path }

    /// Bytes of all files, including those that have been deleted.
    package var byteCount: UInt64 { finishedByteCount + file.gatheredByteCount }

    /// Finds or creates the counters of an agent's device.
    ///
    /// A device that comes back has its own again.
    ///
    /// - Returns: Nil if there are too many devices.
    package mutating func makeCounters(
        named name: String, description: String, linkType: UInt16
    ) -> SourceCounters? {
        if let known = counters.first(where: { $0.name == name && $0.linkType == linkType }) {
            return known
        }
        guard counters.count < Self.deviceCountMax else { return nil }
        let new = SourceCounters(
            name: name, description: description, linkType: linkType,
            start: wallClockNanoseconds())
        counters.append(new)
        return new
    }

    /// Adds a packet of a device.
    package mutating func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) {
        filePacketCount += 1
        let packet = CapturedPacket(
            interface: interface(of: device), nanoseconds: record.nanosecondsSince1970,
            wireByteCount: record.wireByteCount)
        file.add(packet, frame)
    }

    /// Writes the buffer if enough has gathered to be worth a system call.
    mutating func flushIfLarge() throws(SystemError) { try file.flushIfLarge() }

    /// Writes the buffer.
    package mutating func flush() throws(SystemError) { try file.flush() }

    /// A file that is complete.
    package struct Finished {
        package let path: String
        package let byteCount: UInt64
        package let packetCount: Int
        /// Why the oldest file could not be deleted, if it could not.
        package var problem: SystemError?
    }

    /// Completes the file and begins the next, if that is due.
    ///
    /// A file without packets goes on.
    ///
    /// - Returns: The file that was completed, if any.
    package mutating func rotateIfDue(now: MonotonicTime) throws(SystemError) -> Finished? {
        let age = now - fileBegin.monotonic
        guard filePacketCount > 0, options.isDue(byteCount: file.gatheredByteCount, age: age)
        else { return nil }
        var finished = try finish()
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
        filePacketCount = 0
        fileBegin = (now, wallClockNanoseconds())
        for device in counters { device.beginFile() }
        return finished
    }

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

    /// Completes the file with the statistics of each interface, even if it had no packets.
    @discardableResult
    package mutating func finish() throws(SystemError) -> Finished {
        let end = wallClockNanoseconds()
        for device in counters where device.isInFile {
            file.add(
                InterfaceStatistics(
                    interface: interface(of: device), start: max(device.start, fileBegin.wall),
                    end: end, counts: device.countsInFile))
        }
        try file.flush()
        return Finished(
            path: file.path, byteCount: file.byteCount, packetCount: filePacketCount)
    }

    /// The interface of a device in the current file, which is added with its first packet.
    private mutating func interface(of device: SourceCounters) -> Int {
        if let interface = device.interface { return interface }
        let interface = file.addInterface(
            CaptureInterface(
                name: device.name, description: device.description, snaplen: snaplen,
                linkType: device.linkType))
        device.interface = interface
        return interface
    }
}
