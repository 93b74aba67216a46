import Addressing
import CaptureFiles
package import Linux
package import RPCAP
package import Time

/// A recording: what agents send, in one series of capture files, or in one for each link type.
package struct Recording: ~Copyable {
    private let options: RecordingOptions
    private let snaplen: Int
    private var series: [FileSeries] = []
    /// The counters of all devices that have been captured from.
    private(set) var counters: [SourceCounters] = []
    private var forgotten: [SourceCounters] = []

    /// The most devices, many times as many as a collector has agents for.
    ///
    /// An agent that comes with one new name after the other must not fill the memory.
    package static let deviceCountMax = 4096
    /// The most link types with files of their own, many more than a site has.
    ///
    /// Each has a buffer of 2 MiB, and agents say what their link types are.
    package static let linkTypeCountMax = 16

    /// Why a device cannot be recorded.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case tooManyDevices
        case tooManyLinkTypes
        /// The kernel refuses a file.
        case system(SystemError)

        package var description: String {
            switch self {
            case .tooManyDevices:
                "\(Recording.deviceCountMax) devices are in the files that are written: "
                    + "--rotate-size or --rotate-time makes room"
            case .tooManyLinkTypes:
                "there are files for \(Recording.linkTypeCountMax) link types already"
            case .system(let error): "\(error)"
            }
        }
    }

    /// Creates the first file, unless each link type has its own.
    package init(
        _ options: RecordingOptions, snaplen: Int, now: MonotonicTime
    ) throws(SystemError) {
        let series =
            options.splitsLinkTypes
            ? [] : [try FileSeries(options, of: nil, snaplen: snaplen, now: now)]
        self.options = options
        self.snaplen = snaplen
        self.series = series
    }

    /// What has been written, in the order in which files were begun first.
    package var files: [RecordedFiles] { series.map(\.summary) }

    /// Finds or creates the counters of an agent's device.
    ///
    /// A device that comes back has its own again. If these are taken, which is so while another
    /// agent of the same name captures, it has others, with a number in their name: `"eth0@h#2"`.
    ///
    /// A new device may take the place of one that is gone and whose file is complete.
    ///
    /// - Throws: If there are too many devices, or a file for its link type cannot be created.
    package mutating func makeCounters(
        named name: String, description: String, linkType: UInt16, now: MonotonicTime,
        isTaken: (SourceCounters) -> Bool = { _ in false }
    ) throws(Failure) -> SourceCounters {
        var (number, numbered) = (1, name)
        while let known = counters.first(where: { $0.name == numbered && $0.linkType == linkType })
        {
            guard isTaken(known) else { return known }
            number += 1
            numbered = "\(name)#\(number)"
        }
        if counters.count >= Self.deviceCountMax { try forgetOldest() }
        if options.splitsLinkTypes { try addSeries(of: linkType, now) }
        let new = SourceCounters(
            name: numbered, description: description, linkType: linkType,
            start: wallClockNanoseconds())
        counters.append(new)
        return new
    }

    /// Forgets the oldest device that is in no file.
    private mutating func forgetOldest() throws(Failure) {
        guard let index = counters.firstIndex(where: \.isForgettable) else {
            throw .tooManyDevices
        }
        forgotten.append(counters.remove(at: index))
    }

    /// Takes the counters of devices that were forgotten, so that their last numbers can be shown.
    mutating func takeForgotten() -> [SourceCounters] {
        defer { forgotten = [] }
        return forgotten
    }

    private mutating func addSeries(of linkType: UInt16, _ now: MonotonicTime) throws(Failure) {
        guard !series.contains(where: { $0.linkType == linkType }) else { return }
        guard series.count < Self.linkTypeCountMax else { throw .tooManyLinkTypes }
        do throws(SystemError) {
            series.append(try FileSeries(options, of: linkType, snaplen: snaplen, now: now))
        } catch {
            throw .system(error)
        }
    }

    /// The link type that the file of a device has beside the device's own, if it has another.
    ///
    /// Many programs read no file with two link types.
    package func otherLinkType(inFileOf device: SourceCounters) -> UInt16? {
        guard !options.splitsLinkTypes else { return nil }
        return counters.first { $0.isInFile && $0.linkType != device.linkType }?.linkType
    }

    /// Adds a packet of a device.
    package mutating func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) {
        for files in series where files.owns(device) { files.add(frame, record, of: device) }
    }

    /// Writes the buffers if enough has gathered to be worth a system call.
    mutating func flushIfLarge() throws(SystemError) {
        for files in series { try files.flushIfLarge() }
    }

    /// Writes the buffers.
    package mutating func flush() throws(SystemError) {
        for files in series { try files.flush() }
    }

    /// A file that is complete.
    package struct Finished {
        package let path: String
        package let byteCount: UInt64
        package let packetCount: Int
        /// Why the oldest file could not be deleted, if it could not.
        package var problem: SystemError?
    }

    /// Completes the files that are due, and begins the next ones.
    ///
    /// A file without packets goes on.
    ///
    /// - Returns: The files that were completed.
    package mutating func rotateIfDue(now: MonotonicTime) throws(SystemError) -> [Finished] {
        var finished: [Finished] = []
        for files in series {
            if let file = try files.rotateIfDue(counters, now: now) { finished.append(file) }
        }
        return finished
    }

    /// Completes all files with the statistics of their interfaces.
    package mutating func finish() throws(SystemError) {
        for files in series { try files.finish(counters) }
    }
}
