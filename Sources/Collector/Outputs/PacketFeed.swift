import Addressing
import CaptureFiles
package import Linux
import Log
import Logging
package import RPCAP
package import Time

/// A feed of packets over TCP (pcap-over-IP): to readers that connect, and to listeners that are dialled.
///
/// It belongs to the collector's thread and never waits, but for a moment at its end.
package final class PacketFeed {
    private let options: FeedOptions
    private var stream: FeedStream
    private var listener: Listener?
    private var readers: [FeedReader] = []
    private var targets: [FeedTarget]
    private var nextID = 0
    /// What became of the packets of readers that are gone.
    private var goneCounts = (packets: UInt64(0), bytes: UInt64(0), lost: UInt64(0))
    /// Readers that have come, and those that were refused.
    private var (readerCount, refusedCount) = (UInt64(0), UInt64(0))
    /// When readers are accepted again, after one could not be.
    private var acceptsAt = MonotonicTime.zero
    private var news: [OutputNews] = []
    private var buffer = [UInt8](repeating: 0, count: 4096)
    /// The addresses of this host to which readers have connected.
    private var servedEnds: Set<SocketAddress> = []
    /// A number that rises when `ends` change.
    package private(set) var version = 0

    /// The most addresses of this host that are remembered, as many as a filter names.
    private static let servedEndCountMax = 16

    /// A descriptor that is waited for: readers by their ids, targets by their places.
    package enum Key: Hashable, Sendable {
        case listener
        case reader(Int)
        case target(Int)
    }

    /// The time for which nobody is accepted after one could not be.
    private static let acceptPause = Duration.seconds(1)

    /// Listens, if it is to.
    ///
    /// - Throws: If the port is taken.
    package init(
        _ options: FeedOptions, snaplen: Int, _ names: KnownNames = KnownNames()
    ) throws(SystemError) {
        if let address = options.address {
            do throws(SystemError) {
                listener = try Listener(at: address)
            } catch {
                throw SystemError("--serve: \(error.operation)", error.errno)
            }
        }
        self.options = options
        stream = FeedStream(options.format.encoder, snaplen: snaplen, names)
        targets = options.targets.map { FeedTarget($0) }
        noteBegin()
    }

    private func noteBegin() {
        guard let local = listener?.local else { return }
        addServedEnd(local)
        let format = options.format.rawValue
        news.append(OutputNews("serving packets", ["address": "\(local)", "format": "\(format)"]))
        guard !local.address.isLoopback, options.allowed.isEmpty else { return }
        news.append(
            OutputNews(
                "anybody who reaches the port can read all packets",
                [
                    "address": "\(local)",
                    "remedy": """
                    --allow ADDRESS[/N] names who may; without an address before the port, \
                    --serve is for this host only
                    """,
                ], isWarning: true))
    }

    /// The address at which it listens; nil if it does not.
    package var local: SocketAddress? { listener?.local }

    /// The ends of its connections, and where it listens, which no agent is to capture.
    ///
    /// Where readers have connected stays among them: the next ones come there as well.
    package var ends: Set<SocketAddress> {
        servedEnds.union(targets.flatMap { $0.reader?.ends ?? [] })
    }

    private func addServedEnd(_ end: SocketAddress) {
        let isWildcard = end.address.high == 0 && end.address.low == 0
        guard !isWildcard, servedEnds.count < Self.servedEndCountMax else { return }
        if servedEnds.insert(end).inserted { version += 1 }
    }
}

/// Packets.
extension PacketFeed {
    /// Describes a device to all readers, before its first packet.
    package func announce(_ device: SourceCounters) {
        guard !stream.knows(device) else { return }
        deliver()
        stream.announce(device)
        deliver()
    }

    /// Tells new names of addresses to all readers, if the format has a place for them.
    func add(_ names: [AddressName]) {
        deliver()
        stream.add(names)
        deliver()
    }

    /// Takes a packet of a device.
    package func add(_ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters) {
        guard !readers.isEmpty || !targets.isEmpty || !stream.knows(device) else { return }
        if !stream.knows(device) { announce(device) }
        stream.add(
            frame, nanoseconds: record.nanosecondsSince1970,
            wireByteCount: record.wireByteCount, of: device)
        if stream.isLarge { deliver() }
    }

    /// Gives the batch to all readers.
    package func deliver() {
        for reader in readers { reader.take(stream) }
        let count = UInt64(stream.packetEnds.count)
        guard count > 0 else { return }
        for place in targets.indices where targets[place].reader == nil {
            targets[place].lostCount &+= count
        }
        stream.removeBatch()
    }

    /// Whether the queue of a reader is half full.
    var isBehind: Bool { readers.contains { $0.isBehind } }

    /// Gives what is left to all readers, waits until they have it or for a deadline, and closes.
    package func finish(until deadline: MonotonicTime) {
        deliver()
        while true {
            let waiting = readers.filter { !$0.isDone }
            guard !waiting.isEmpty, MonotonicTime.now < deadline else { break }
            let requests = waiting.map(\.request)
            guard let ready = try? poll(requests, until: deadline) else { break }
            for (reader, ready) in zip(waiting, ready) {
                reader.serve(ready, into: &buffer)
            }
        }
        for reader in readers where reader.isDone { reader.close() }
        for reader in readers { reader.end("the collector has ended") }
        listener = nil
    }
}

/// Readers that come and go.
extension PacketFeed {
    /// What to wait for.
    package func requests(
        now: MonotonicTime
    ) -> [Key: (fileDescriptor: CInt, interest: Readiness)] {
        var requests: [Key: (fileDescriptor: CInt, interest: Readiness)] = [:]
        if now >= acceptsAt, let number = listener?.fileDescriptor {
            requests[.listener] = (number, .readable)
        }
        for reader in readers { requests[.reader(reader.id)] = reader.request }
        for (place, target) in targets.enumerated() {
            requests[.target(place)] = (target.dialer.fileDescriptor, target.dialer.interest)
        }
        return requests
    }

    /// When to call `serve` even if nothing is ready.
    package var deadline: MonotonicTime {
        targets.compactMap(\.dialer.deadline).min() ?? .distantFuture
    }

    /// Does what descriptors are ready for.
    package func serve(_ ready: (Key) -> Readiness, now: MonotonicTime) {
        for reader in readers {
            let ready = ready(.reader(reader.id))
            if !ready.isEmpty { reader.serve(ready, into: &buffer) }
        }
        removeEnded(now)
        for place in targets.indices {
            advance(place, !ready(.target(place)).isEmpty, now)
            if targets[place].hasWorked(now: now) { noteWork(at: place) }
        }
        if ready(.listener).contains(.readable) { accept(now) }
    }

    private func removeEnded(_ now: MonotonicTime) {
        guard readers.contains(where: { $0.endReason != nil }) else { return }
        for reader in readers {
            guard let reason = reader.endReason else { continue }
            if let place = reader.target {
                tellEnd(of: reader, at: place, reason, now)
                targets[place].end(reader, now: now)
                version += 1
            } else {
                news.append(
                    OutputNews(
                        "reader gone", Self.values(of: reader, "\(reader.peer)", reason),
                        isOfStrangers: true))
                goneCounts.packets &+= reader.packetCount
                goneCounts.bytes &+= reader.byteCount
                goneCounts.lost &+= reader.lostCount
            }
        }
        readers.removeAll { $0.endReason != nil }
    }

    private static func values(
        of reader: FeedReader, _ name: String, _ reason: String
    ) -> Logger.Metadata {
        [
            "reader": "\(name)", "reason": "\(reason)", "packets": .number(reader.packetCount),
            "lost": .number(reader.lostCount),
        ]
    }

    /// Tells that a reader is gone which is dialled: it misses packets until it is back.
    private func tellEnd(
        of reader: FeedReader, at place: Int, _ reason: String, _ now: MonotonicTime
    ) {
        let begin = targets[place].connectedAt ?? now
        var values = Self.values(of: reader, targets[place].name, reason)
        if targets[place].hasWorked(now: now) {
            noteWork(at: place)
        } else {
            let counts = targets[place].lines.recordFailure(reason, since: begin, now: now)
            guard let counts else { return }
            values.merge(counts) { $1 }
        }
        news.append(OutputNews("reader gone", values, isWarning: true))
    }

    /// Tells that a target works, if it has failed before: its connection was no news then.
    private func noteWork(at place: Int) {
        let failureCount = targets[place].lines.recordSuccess()
        guard failureCount > 0 else { return }
        news.append(
            OutputNews(
                "reader connected",
                ["reader": "\(targets[place].name)", "failures": .number(failureCount)]))
    }

    private func accept(_ now: MonotonicTime) {
        do throws(SystemError) {
            guard let connection = try listener?.accept() ?? nil else { return }
            let peer = connection.peer
            if let reason = refusal(of: peer.address, now) {
                refusedCount &+= 1
                news.append(
                    OutputNews(
                        "reader refused", ["reader": "\(peer)", "reason": "\(reason)"],
                        isWarning: true, isOfStrangers: true))
                return
            }
            addServedEnd(try add(connection, target: nil).ends[0])
            readerCount &+= 1
            news.append(OutputNews("reader connected", ["reader": "\(peer)"], isOfStrangers: true))
        } catch {
            // Out of descriptors or memory, most likely, which does not pass at once.
            acceptsAt = now + Self.acceptPause
            news.append(
                OutputNews(
                    "reader not accepted", ["reason": "\(error)"], isWarning: true,
                    isOfStrangers: true))
        }
    }

    /// Why a reader is refused, or nil if there is a place for it.
    private func refusal(of address: IPAddress, _ now: MonotonicTime) -> String? {
        guard options.allows(address) else { return "--allow does not name its address" }
        let present = readers.filter { $0.target == nil }
        guard present.count >= FeedOptions.readerCountMax else { return nil }
        // One that has ended its side is most likely gone, which shows with the next packets.
        guard let idle = present.first(where: \.hasEndedSending) else {
            return "there are \(FeedOptions.readerCountMax) readers"
        }
        idle.end("it has ended its side, and another one waits")
        removeEnded(now)
        return nil
    }

    private func add(
        _ connection: consuming Connection, target: Int?
    ) throws(SystemError) -> FeedReader {
        // What was captured before is not for it.
        deliver()
        let reader = try FeedReader(connection, id: nextID, target: target)
        nextID += 1
        readers.append(reader)
        reader.take(stream)
        return reader
    }

    private func advance(_ place: Int, _ isReady: Bool, _ now: MonotonicTime) {
        let name = targets[place].name
        switch targets[place].dialer.advance(isReady: isReady, now: now) {
        case .none: return
        case .failed(let failure): tellUnreached(place, "\(failure)", now)
        case .connected(let connection):
            do throws(SystemError) {
                targets[place].begin(try add(connection, target: place), now: now)
                version += 1
                guard let counts = targets[place].lines.recordConnection() else { return }
                news.append(
                    OutputNews(
                        "reader connected", counts.merging(["reader": "\(name)"]) { $1 }))
            } catch {
                targets[place].dialer.end(connectedAt: nil, now: now)
                tellUnreached(place, "\(error)", now)
            }
        }
    }

    private func tellUnreached(_ place: Int, _ reason: String, _ now: MonotonicTime) {
        guard let counts = targets[place].lines.recordUnreached(reason, now: now) else { return }
        let values = counts.merging(["reader": "\(targets[place].name)"]) { $1 }
        news.append(OutputNews("reader not reached", values, isWarning: true))
    }
}

/// What a person wants to know.
extension PacketFeed {
    private static let (full, otherLinkType, absent) =
        ("reader too slow", "other link type", "not connected")

    /// Takes what a person has to be told.
    package func takeNews() -> [OutputNews] {
        defer { news = [] }
        return news
    }

    /// What became of the packets: of all readers that have connected, and of each target.
    package var counts: [OutputCounts] {
        var counts: [OutputCounts] = []
        if let address = options.address {
            var served = OutputCounts(kind: "serve", place: "\(address)")
            let present = readers.filter { $0.target == nil }
            served.packetCount = present.reduce(goneCounts.packets) { $0 &+ $1.packetCount }
            served.byteCount = present.reduce(goneCounts.bytes) { $0 &+ $1.byteCount }
            served.addLoss(Self.full, present.reduce(goneCounts.lost) { $0 &+ $1.lostCount })
            served.addLoss(Self.otherLinkType, stream.otherLinkTypeCount)
            served.readers = OutputCounts.Readers(
                present: present.count, connected: readerCount, refused: refusedCount)
            counts.append(served)
        }
        for target in targets {
            var pushed = OutputCounts(kind: "push", place: target.name)
            pushed.packetCount = target.packetCount
            pushed.byteCount = target.byteCount
            pushed.addLoss(Self.full, target.slowCount)
            pushed.addLoss(Self.absent, target.lostCount)
            pushed.addLoss(Self.otherLinkType, stream.otherLinkTypeCount)
            counts.append(pushed)
        }
        return counts
    }
}
