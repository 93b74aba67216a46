package import CaptureFiles
import Glibc
package import Linux
import Logging
package import RPCAP
package import Time

/// The outputs of a collector: all that its packets go to, and the devices that they come from.
///
/// There is one entrance, `add`, and it does not matter when a packet comes there after it was read.
/// An output has a bound of its own and counts what it loses; none of them costs another one
/// anything. All belong to the collector's thread.
package final class Outputs {
    package private(set) var sources: SourceTable
    private let recording: Recording?
    private let feed: PacketFeed?
    private let frameSinks: [any FrameSink]
    /// The conversations, which are among the sinks as well; nil if they are not counted.
    package let flows: FlowSink?
    /// Why the files were given up, if they were.
    private var fileFailure: SystemError?
    private let names = KnownNames()
    private var lostByFileCount: UInt64 = 0
    /// Whether the file was given up as the program that read it has gone.
    private var readerIsGone = false
    /// The packets that are wanted in all.
    private let packetCountMax: UInt64
    /// The packets that have been written, or passed on where there is no file.
    private var packetCount: UInt64 = 0
    private var news: [OutputNews] = []

    /// A descriptor that is waited for: of the feed, or of a sink, by its place.
    package enum Key: Hashable, Sendable {
        case feed(PacketFeed.Key)
        case sink(Int)
        /// The pipe that standard output is.
        case reader
    }

    /// Why a device cannot be captured from.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String
        /// The error that ends the collector, as its only output has failed.
        package let fatal: SystemError?
    }

    /// Opens all outputs; a file comes last, so that none is emptied for nothing.
    package init(
        _ options: OutputOptions, snaplen: Int, now: MonotonicTime
    ) throws(SystemError) {
        feed = options.feed.isEmpty ? nil : try PacketFeed(options.feed, snaplen: snaplen, names)
        var frameSinks: [any FrameSink] = []
        for sink in options.frameSinks { frameSinks.append(try sink.open()) }
        if let files = options.recording {
            recording = try Recording(files, snaplen: snaplen, names, now: now)
        } else {
            recording = nil
        }
        if let options = options.flows {
            let flows = try FlowSink(options, names, now: now)
            frameSinks.append(flows)
            self.flows = flows
        } else {
            flows = nil
        }
        self.frameSinks = frameSinks
        packetCountMax = options.packetCountMax ?? .max
        sources = SourceTable(hasFile: options.recording != nil)
    }
}

/// Devices.
extension Outputs {
    /// Finds or creates the counters of an agent's device, and has a file for its link type.
    ///
    /// See `SourceTable`.
    package func makeCounters(
        named name: String, description: String, linkType: UInt16, now: MonotonicTime,
        isTaken: (SourceCounters) -> Bool = { _ in false }
    ) throws(Failure) -> SourceCounters {
        do throws(Recording.Failure) {
            if fileFailure == nil { try recording?.prepare(linkType, now: now) }
        } catch {
            guard case .system(let error) = error else {
                throw Failure(description: "\(error)", fatal: nil)
            }
            do throws(SystemError) {
                try giveUpFile(error)
            } catch {
                throw Failure(description: "\(error)", fatal: error)
            }
        }
        do throws(SourceTable.Full) {
            return try sources.makeCounters(
                named: name, description: description, linkType: linkType, isTaken: isTaken)
        } catch {
            throw Failure(description: "\(error)", fatal: nil)
        }
    }

    /// Describes a device to all outputs that describe devices, once its capture has begun.
    ///
    /// A device that was not announced is described with its first packet.
    package func announce(_ device: SourceCounters) {
        if fileFailure == nil { recording?.announce(device) }
        feed?.announce(device)
    }

    /// Whether the files have no place for packets of a device's link type.
    package func refusesInFile(_ device: SourceCounters) -> Bool {
        fileFailure == nil && recording.map { !$0.takes(device) } ?? false
    }

    /// The link type that the file of a device has beside the device's own, if it has another.
    package func otherLinkType(inFileOf device: SourceCounters) -> UInt16? {
        recording?.otherLinkType(inFileOf: device, among: sources.counters)
    }

    /// Takes the counters of devices that were forgotten, so that their last numbers can be shown.
    package func takeForgotten() -> [SourceCounters] { sources.takeForgotten() }
}

/// Packets.
extension Outputs {
    /// Gives a packet of a device to all outputs; the frame is lent for the call.
    ///
    /// A packet behind the last that is wanted is left out, as if it had not come.
    package func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) {
        guard ending == nil else { return device.leaveOut(frame) }
        if let recording {
            if fileFailure != nil {
                lostByFileCount &+= 1
                packetCount &+= 1
            } else if recording.add(frame, record, of: device) {
                packetCount &+= 1
            }
        } else {
            packetCount &+= 1
        }
        feed?.add(frame, record, of: device)
        for sink in frameSinks {
            sink.add(
                frame, wireByteCount: max(record.wireByteCount, frame.byteCount),
                nanoseconds: record.nanosecondsSince1970, linkType: device.linkType)
        }
    }

    /// Why no more packets are wanted; nil while they are.
    package var ending: Ending? {
        if packetCount >= packetCountMax { return .complete }
        return readerIsGone && !hasOthers ? .readerGone : nil
    }

    /// Why no more packets are wanted.
    package enum Ending: Sendable {
        /// As many have been written as were asked for.
        case complete
        /// The program that reads the file, which is a pipe, has gone, and there is no other output.
        case readerGone
    }

    /// Whether packets go elsewhere than to files.
    private var hasOthers: Bool { feed != nil || !frameSinks.isEmpty }

    /// Tells new names of addresses to all outputs that have a place for them.
    package func add(_ names: [AddressName]) {
        self.names.add(names)
        if fileFailure == nil { recording?.add(names) }
        feed?.add(names)
    }

    /// Writes what is enough to be worth a system call.
    ///
    /// - Throws: The failure of a file that is the only output.
    package func flushIfLarge() throws(SystemError) {
        try record { files throws(SystemError) in try files.flushIfLarge() }
    }

    /// Passes on what should not wait, as the reading of packets pauses: all but the buffers of files.
    package func deliver(now: MonotonicTime) {
        feed?.deliver()
        for sink in frameSinks { sink.flush(now: now) }
    }

    /// Whether a reader should be waited for, where there is time: it has much to take.
    package var isBehind: Bool { feed?.isBehind ?? false }

    /// Writes everything.
    ///
    /// - Throws: The failure of a file that is the only output.
    package func flush(now: MonotonicTime) throws(SystemError) {
        deliver(now: now)
        try record { files throws(SystemError) in try files.flush() }
    }

    /// Whether a file is due to be completed.
    package func isRotationDue(now: MonotonicTime) -> Bool {
        fileFailure == nil && recording?.isRotationDue(now: now) ?? false
    }

    /// Completes the files that are due, and begins the next ones.
    ///
    /// - Parameters:
    ///   - now: The time.
    ///   - isAsked: Whether all files with packets are due.
    /// - Returns: The files that were completed.
    /// - Throws: The failure of a file that is the only output.
    package func rotateIfDue(
        now: MonotonicTime, isAsked: Bool = false
    ) throws(SystemError) -> [Recording.Finished] {
        var finished: [Recording.Finished] = []
        try record { files throws(SystemError) in
            finished = try files.rotateIfDue(now: now, isAsked: isAsked)
        }
        return finished
    }

    /// Takes the files that were completed since they were taken last.
    package func takeFinished() -> [Recording.Finished] { recording?.takeFinished() ?? [] }

    /// Completes the files, and then ends the other outputs, whose readers may be slow.
    ///
    /// - Parameter deadline: Until when readers may take what waits for them.
    /// - Throws: The failure of a file that is the only output.
    package func finish(until deadline: MonotonicTime) throws(SystemError) {
        defer {
            for sink in frameSinks { sink.finish() }
            feed?.finish(until: deadline)
        }
        try record { files throws(SystemError) in try files.finish() }
    }

    /// Has the files do something; gives them up if that fails and packets go elsewhere as well.
    private func record(
        _ body: (Recording) throws(SystemError) -> Void
    ) throws(SystemError) {
        guard let recording, fileFailure == nil else { return }
        do throws(SystemError) {
            try body(recording)
        } catch {
            guard error.errno == .brokenPipe else { return try giveUpFile(error) }
            noteReaderGone()
        }
    }

    /// Writes no file any more, since the program that reads it has what it wanted.
    private func noteReaderGone() {
        guard !readerIsGone else { return }
        readerIsGone = true
        fileFailure = SystemError("write standard output", .brokenPipe)
        sources.giveUpFile()
        guard hasOthers else { return }
        recording?.giveUp()
        news.append(
            OutputNews("reader gone", ["meaning": "packets go to the other outputs only"]))
    }

    /// Writes no file any more, since one has failed.
    private func giveUpFile(_ error: SystemError) throws(SystemError) {
        fileFailure = error
        recording?.giveUp()
        guard hasOthers else { throw error }
        sources.giveUpFile()
        news.append(
            OutputNews(
                "file given up",
                [
                    "path": "\(recording?.path ?? "")", "reason": "\(error)",
                    "meaning": "packets go to the other outputs only",
                    "remedy": "make room, and start the collector again",
                ], isWarning: true))
    }
}

/// Waiting, and what a person wants to know.
extension Outputs {
    /// What to wait for.
    package func requests(
        now: MonotonicTime
    ) -> [Key: (fileDescriptor: CInt, interest: Readiness)] {
        var requests: [Key: (fileDescriptor: CInt, interest: Readiness)] = [:]
        for (place, sink) in frameSinks.enumerated() { requests[.sink(place)] = sink.request }
        for (key, request) in feed?.requests(now: now) ?? [:] { requests[.feed(key)] = request }
        if recording?.path == "-", fileFailure == nil {
            requests[.reader] = (STDOUT_FILENO, [])
        }
        return requests
    }

    /// When to call `serve` even if nothing is ready.
    package var deadline: MonotonicTime { feed?.deadline ?? .distantFuture }

    /// The ends of its own connections, which no agent is to capture.
    package var ownEnds: Set<SocketAddress> { feed?.ends ?? [] }

    /// A number that rises when these ends change.
    package var ownEndsVersion: Int { feed?.version ?? 0 }

    /// Does what descriptors are ready for.
    package func serve(_ ready: (Key) -> Readiness, now: MonotonicTime) {
        for (place, sink) in frameSinks.enumerated() {
            let ready = ready(.sink(place))
            if !ready.isEmpty { sink.serve(ready, now: now) }
        }
        feed?.serve({ ready(.feed($0)) }, now: now)
        if !ready(.reader).isDisjoint(with: .failed) { noteReaderGone() }
    }

    /// Takes what a person has to be told.
    package func takeNews() -> [OutputNews] {
        if let recording { news += recording.takeNews() }
        if let feed { news += feed.takeNews() }
        for sink in frameSinks { news += sink.takeNews() }
        defer { news = [] }
        return news
    }

    /// What has been written: one entry, or one for each link type; none without files.
    package var files: [RecordedFiles] { recording?.files ?? [] }

    /// What became of the packets at each output, the files first.
    package var counts: [OutputCounts] {
        var counts: [OutputCounts] = []
        if let recording {
            var file = OutputCounts(kind: "file", place: recording.path)
            file.packetCount = recording.packetCount
            file.byteCount = recording.files.reduce(0) { $0 + $1.byteCount }
            file.addLoss(
                readerIsGone ? "reader gone" : "file given up",
                lostByFileCount &+ recording.lostCount)
            file.addLoss("other link type", recording.otherLinkTypeCount)
            counts.append(file)
        }
        return counts + (feed?.counts ?? []) + frameSinks.map(\.counts)
    }
}
