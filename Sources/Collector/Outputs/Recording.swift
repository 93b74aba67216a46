import CaptureFiles
package import Linux
package import RPCAP
package import Time

/// A recording: packets in one series of capture files, or in one for each link type.
package final class Recording {
    private let options: RecordingOptions
    private let snaplen: Int
    private var series: [FileSeries] = []
    /// The names that a file begins with.
    private let names: KnownNames

    /// The most link types with files of their own, many more than a site has.
    ///
    /// Each has a buffer of 128 KiB, and agents say what their link types are.
    package static let linkTypeCountMax = 16

    /// Why a device cannot be recorded.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case tooManyLinkTypes
        /// The kernel refuses a file.
        case system(SystemError)

        package var description: String {
            switch self {
            case .tooManyLinkTypes:
                "there are files for \(Recording.linkTypeCountMax) link types already"
            case .system(let error): "\(error)"
            }
        }
    }

    /// Creates the first file, unless each link type has its own.
    package init(
        _ options: RecordingOptions, snaplen: Int, _ names: KnownNames = KnownNames(),
        now: MonotonicTime
    ) throws(SystemError) {
        // Otherwise that showed only when the first agent comes, where link types have files of their own.
        try options.checkFolder()
        let series =
            options.splitsLinkTypes
            ? [] : [try FileSeries(options, of: nil, snaplen: snaplen, names, now: now)]
        self.options = options
        self.snaplen = snaplen
        self.names = names
        self.series = series
    }

    /// What has been written, in the order in which files were begun first.
    package var files: [RecordedFiles] { series.filter { !$0.isRemoved }.map(\.summary) }

    /// The path that was asked for.
    var path: String { options.path }

    /// The packets in all files.
    package var packetCount: UInt64 { series.reduce(0) { $0 &+ $1.packetCount } }

    /// Packets that were not written, since a file has failed.
    var lostCount: UInt64 { series.reduce(0) { $0 &+ $1.lostCount } }

    /// Packets of a link type that the format has no place for beside that of the others.
    package var otherLinkTypeCount: UInt64 { series.reduce(0) { $0 &+ $1.otherLinkTypeCount } }

    /// Whether the format has a place for packets of a device's link type.
    package func takes(_ device: SourceCounters) -> Bool {
        series.contains { $0.owns(device) && $0.takes(device) }
    }

    /// Makes a file for a link type, if there is to be one and there is none.
    ///
    /// - Throws: If there are too many, or the file cannot be created.
    package func prepare(_ linkType: UInt16, now: MonotonicTime) throws(Failure) {
        guard options.splitsLinkTypes, !series.contains(where: { $0.linkType == linkType }) else {
            return
        }
        guard series.count < Self.linkTypeCountMax else { throw .tooManyLinkTypes }
        do throws(SystemError) {
            series.append(
                try FileSeries(options, of: linkType, snaplen: snaplen, names, now: now))
        } catch {
            throw .system(error)
        }
    }

    /// Describes a device in its file, before its first packet.
    package func announce(_ device: SourceCounters) {
        for files in series where files.owns(device) { files.announce(device) }
    }

    /// The link type that the file of a device has beside the device's own, if it has another.
    ///
    /// Many programs read no file with two link types.
    package func otherLinkType(
        inFileOf device: SourceCounters, among devices: [SourceCounters]
    ) -> UInt16? {
        guard !options.splitsLinkTypes else { return nil }
        return devices.first { $0.isInFile && $0.linkType != device.linkType }?.linkType
    }

    /// Adds a packet of a device.
    ///
    /// - Returns: Whether the format has a place for it.
    @discardableResult
    package func add(
        _ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters
    ) -> Bool {
        for files in series where files.owns(device) {
            return files.add(frame, record, of: device)
        }
        return false
    }

    /// Adds new names of addresses; the next files begin with all that are known.
    func add(_ names: [AddressName]) {
        for files in series { files.add(names) }
    }

    /// Writes the buffers if enough has gathered to be worth a system call.
    func flushIfLarge() throws(SystemError) {
        try forEach { files throws(SystemError) in try files.flushIfLarge() }
    }

    /// Writes the buffers.
    package func flush() throws(SystemError) {
        try forEach { files throws(SystemError) in try files.flush() }
    }

    /// A file that is complete.
    package struct Finished {
        package let path: String
        package let byteCount: UInt64
        package let packetCount: Int
        /// Why the oldest file could not be deleted, if it could not.
        package let problem: SystemError?
    }

    /// Whether a file is due to be completed.
    func isRotationDue(now: MonotonicTime) -> Bool {
        series.contains { $0.isRotationDue(now: now) }
    }

    /// Completes the files that are due, and begins the next ones.
    ///
    /// A file without packets goes on.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - isAsked: Whether all files with packets are due.
    /// - Returns: The files that were completed.
    /// - Throws: If a file cannot be written or created.
    package func rotateIfDue(
        now: MonotonicTime, isAsked: Bool = false
    ) throws(SystemError) -> [Finished] {
        var finished: [Finished] = []
        try forEach { files throws(SystemError) in
            finished += try files.rotateIfDue(now: now, isAsked: isAsked)
        }
        return finished
    }

    /// Takes the files that were completed since they were taken last.
    func takeFinished() -> [Finished] { series.flatMap { $0.takeFinished() } }

    /// Completes all files with the statistics of their interfaces.
    ///
    /// A file that was begun for nothing is removed.
    package func finish() throws(SystemError) {
        try forEach { files throws(SystemError) in try files.finish() }
    }

    /// Writes nothing any more, since a file has failed or nobody reads it; completes the others.
    func giveUp() {
        for files in series { files.giveUp() }
    }

    /// Has all files do something, also behind one that fails.
    ///
    /// - Throws: The first failure, when all have had their turn.
    private func forEach(
        _ body: (FileSeries) throws(SystemError) -> Void
    ) throws(SystemError) {
        var failure: SystemError?
        for files in series {
            do throws(SystemError) {
                try body(files)
            } catch {
                failure = failure ?? error
            }
        }
        if let failure { throw failure }
    }

    /// Takes what a person has to be told.
    func takeNews() -> [OutputNews] { series.flatMap { $0.takeNews() } }
}
