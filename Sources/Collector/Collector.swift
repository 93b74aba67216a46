package import Linux
package import Logging

import Addressing
import Glibc
import Security

/// A sensor: accepts agents and dials others, has each capture, and writes what they send into one
/// recording.
///
/// One thread serves all agents with a poll loop. It belongs to the thread that runs it.
package final class Collector {
    private var listener: Listener?
    private let stop: Event
    private let options: CaptureOptions
    private let logger: Logger
    private let view: LiveView
    private var recording: Recording
    private var links: [AgentLink] = []
    private let dialers: [SourceDialer]
    /// False for the rest of a second when no agent can be taken: the next one would be refused for
    /// the same reason, and the listener would stay ready.
    private var accepts = true
    /// Why the recording cannot go on.
    private var failure: SystemError?
    private var buffer = [UInt8](repeating: 0, count: Collector.readByteCount)

    /// As many as a sensor is sold for; each takes three descriptors.
    package static let linkCountMax = 512
    private static let readByteCount = 256 << 10
    private static let tickNanoseconds: UInt64 = 1_000_000_000
    /// How long agents have to send what they have when the collector is to stop.
    private static let endNanosecondsMax: UInt64 = 3_000_000_000

    /// Listens from now on, if it is to. The file is made when that has worked: what has its name
    /// is not emptied for nothing.
    package init(
        at address: SocketAddress?, from sources: [Source], to recordingOptions: RecordingOptions,
        _ options: CaptureOptions, stop: consuming Event, view: LiveView, logger: Logger
    ) throws(SystemError) {
        listener = try Self.listen(at: address)
        recording = try Recording(recordingOptions, snaplen: options.snaplen)
        dialers = sources.map { SourceDialer($0) }
        self.options = options
        self.stop = stop
        self.view = view
        self.logger = logger
        if let local = listener?.local { view.note("listening", ["address": "\(local)"], logger) }
    }

    /// For a poll set; -1 while nobody is to be let in.
    private var listenerNumber: CInt {
        guard accepts else { return -1 }
        return listener?.fileDescriptor ?? -1
    }

    /// Where the kernel has no IPv6, its wildcard means IPv4's.
    private static func listen(at address: SocketAddress?) throws(SystemError) -> Listener? {
        guard let address else { return nil }
        do throws(SystemError) {
            return try Listener(at: address)
        } catch {
            guard error.errno == .addressFamilyNotSupported,
                address.address == IPAddress(ipv6High: 0, low: 0)
            else { throw error }
            return try Listener(at: SocketAddress(IPAddress(ipv4: 0), port: address.port))
        }
    }

    /// Serves agents until `stop` is raised; then has them end, and completes the file.
    package func run() throws(SystemError) {
        var nextTick = monotonicNanoseconds() + Self.tickNanoseconds
        while true {
            let deadline = dialers.compactMap(\.deadline).min() ?? nextTick
            let set = PollSet(own: [stop.fileDescriptor, listenerNumber], links, dialers)
            let ready = try set.wait(milliseconds: Self.milliseconds(min(deadline, nextTick)))
            if ready.own(0) { break }
            // What is ready stands in the order in which the links and dialers do now.
            for index in dialers.indices { advance(dialers[index], ready.dialer(index)) }
            try serve(ready)
            if ready.own(1) { accept() }
            try recording.flushIfLarge()
            let now = monotonicNanoseconds()
            if now >= nextTick {
                nextTick = now + Self.tickNanoseconds
                try tick(now)
            }
        }
        try finish()
    }

    /// What has become of each agent that has captured.
    package var reports: [AgentReport] {
        let now = monotonicNanoseconds()
        return recording.tallies.map { $0.report(now: now) }
    }

    /// Bytes of all files that have been written.
    package var fileByteCount: UInt64 { recording.byteCount }
    package var fileCount: Int { recording.fileCount }
    /// The file that is being written, or was last.
    package var lastPath: String { recording.path }

    private static func milliseconds(_ deadline: UInt64) -> CInt {
        let now = monotonicNanoseconds()
        return deadline > now ? CInt((deadline - now) / 1_000_000 + 1) : 0
    }
}

extension Collector {
    private func accept() {
        let connection: Connection?
        do throws(SystemError) {
            connection = try listener?.accept() ?? nil
        } catch {
            // Out of descriptors, most likely: those who wait get their turn when others have gone.
            accepts = false
            return view.warn("agent not accepted", ["reason": "\(error)"], logger)
        }
        guard let connection else { return }
        guard links.count < Self.linkCountMax else {
            accepts = false
            return view.warn("agent refused", ["reason": "there are \(links.count)"], logger)
        }
        let peer = connection.peer
        do {
            try connection.watchPeer()
            try connection.sendAtOnce()
            try begin(connection, from: nil)
        } catch {
            view.warn("agent not accepted", ["agent": "\(peer)", "reason": "\(error)"], logger)
        }
    }

    @discardableResult
    private func begin(
        _ connection: consuming Connection, from source: Source?
    ) throws(TLSFailure) -> AgentLink {
        let channel = try options.channel(over: connection, for: source)
        let link = AgentLink(channel, from: source, options, now: monotonicNanoseconds())
        links.append(link)
        view.note("agent connected", ["agent": link.label], logger)
        guarded(link) { try link.proceed() }
        return link
    }

    private func advance(_ dialer: SourceDialer, _ isReady: Bool) {
        switch dialer.advance(isReady: isReady, now: monotonicNanoseconds()) {
        case .none: break
        case .connected(let connection):
            do throws(TLSFailure) {
                dialer.begin(try begin(connection, from: dialer.source))
            } catch {
                dialer.end(now: monotonicNanoseconds())
                view.warn(
                    "agent not reached", ["agent": "\(dialer.source)", "reason": "\(error)"], logger
                )
            }
        case .failed(let reason):
            view.warn(
                "agent not reached", ["agent": "\(dialer.source)", "reason": reason], logger)
        }
    }

    /// Deals with what the last wait found. Links that have come since then were not asked for.
    private func serve(_ ready: PollSet.Ready) throws(SystemError) {
        for index in 0..<min(ready.linkCount, links.count) {
            let link = links[index]
            let (control, data) = ready.link(index)
            guarded(link) {
                if !data.isEmpty { try serveData(link) }
                if control.contains(.writable) { try link.writeControl() }
                if !control.isDisjoint(with: [.readable, .failed]) {
                    try link.readControl(into: &buffer)
                }
                if link.isCapturing { count(link) }
            }
            for note in link.takeNotes() {
                view.warn("agent says", ["agent": link.label, "text": note], logger)
            }
        }
        removeEnded()
        if let failure { throw failure }
    }

    /// An error of the link's sockets ends the link. One of the recording ends the collector, so it
    /// is kept out of the way until the turn is over.
    private func serveData(_ link: AgentLink) throws {
        if link.path.carriesPackets { count(link) }
        try link.advanceData(into: &buffer) { record, frame in
            if let tally = link.tally { recording.add(frame, record, of: tally) }
        } afterRead: {
            do throws(SystemError) {
                try recording.flushIfLarge()
                try rotateIfDue()
            } catch {
                failure = error
            }
        }
    }

    private func guarded(_ link: AgentLink, _ body: () throws -> Void) {
        do {
            try body()
        } catch {
            link.fail(error)
        }
    }

    /// Has the link's packets counted. An agent that comes back is the same interface again.
    private func count(_ link: AgentLink) {
        guard link.tally == nil else { return }
        let host = link.source?.shortPlace ?? "\(link.peer.address)"
        guard
            let tally = recording.tally(
                named: link.interfaceName, description: "agent at \(host)",
                linkType: link.linkType)
        else {
            return link.end("\(Recording.tallyCountMax) devices have been captured from already")
        }
        link.count(in: tally)
        view.note("capture started", ["agent": link.label, "device": link.device], logger)
    }

    private func removeEnded() {
        guard links.contains(where: { $0.endReason != nil }) else { return }
        let now = monotonicNanoseconds()
        for link in links {
            guard let reason = link.endReason else { continue }
            // Another link of the same device may go on.
            let goesOn = links.contains { $0.endReason == nil && $0.tally === link.tally }
            if !goesOn { link.tally?.end(link.hasEnded ? "ended" : "gone", now: now) }
            dialers.first { $0.link === link }?.end(now: now)
            let values = ["agent": link.label, "reason": reason]
            if link.tally == nil, !link.isProbe {
                view.warn("agent not captured from", values, logger)
            } else {
                view.note(
                    link.isProbe ? "connection closed before a word" : "agent gone", values, logger)
            }
        }
        links.removeAll { $0.endReason != nil }
    }

    private func tick(_ now: UInt64) throws(SystemError) {
        accepts = true
        for link in links {
            guarded(link) {
                try link.checkDeadline(now)
                try link.askForStatistics()
            }
        }
        removeEnded()
        try recording.flush()
        try rotateIfDue()
        view.show(links, dialers, now: now, logger)
    }

    private func rotateIfDue() throws(SystemError) {
        guard let finished = try recording.rotateIfDue(now: monotonicNanoseconds()) else { return }
        view.note(
            "file complete",
            [
                "path": finished.path, "bytes": "\(finished.byteCount)",
                "packets": "\(finished.packetCount)",
            ], logger)
        if let problem = finished.problem {
            view.warn("file not deleted", ["reason": "\(problem)"], logger)
        }
        let now = monotonicNanoseconds()
        for link in links {
            if let tally = link.tally { view.summarize(tally.report(now: now), logger) }
        }
    }

    private func finish() throws(SystemError) {
        view.note("stopping", [:], logger)
        for link in links {
            guarded(link) { try link.endCapture() }
        }
        removeEnded()
        let deadline = monotonicNanoseconds() + Self.endNanosecondsMax
        while !links.isEmpty, monotonicNanoseconds() < deadline {
            // The event stays raised, so it is left out of the wait; and nobody else is let in.
            try serve(try PollSet(own: [], links, []).wait(milliseconds: 100))
            for link in links {
                guarded(link) {
                    try link.checkDeadline(monotonicNanoseconds())
                }
            }
            removeEnded()
            try recording.flushIfLarge()
        }
        for link in links { link.end("has not ended within 3 s") }
        removeEnded()
        try recording.finish()
    }
}
