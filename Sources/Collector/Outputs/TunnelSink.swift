import Addressing
package import Linux
import Log
import Logging
import Time
package import Tunnels

/// The options of a tunnel into which all packets are sent.
package struct TunnelSinkOptions: FrameSinkOptions {
    /// The receiver.
    package let target: TunnelTarget

    /// A tunnel to a receiver.
    package init(target: TunnelTarget) { self.target = target }

    package func open() throws(SystemError) -> any FrameSink { TunnelSink(to: target, now: .now) }
}

/// A tunnel to a receiver, which need not be there: no failure ends it.
///
/// The outer source port is made from a packet's flow. A name is looked up at the start, and again
/// after failures, since another host may have it then.
final class TunnelSink: FrameSink {
    private let target: TunnelTarget
    private var sender: TunnelSender?
    private var lookup: NameLookup?
    /// When an address is looked up again, or the sockets are opened again, if that is needed.
    private var retryAt = MonotonicTime.zero
    private var backoff = Backoff()
    private var hasFailed = false
    private var outcomes = TunnelOutcomes()
    private var refusals = FrameRefusals()
    /// Packets for which there was no address or no socket.
    private var unaddressedCount: UInt64 = 0
    private var news: [OutputNews] = []
    private var toldReason = ""
    private var now: MonotonicTime

    /// The most news that wait to be taken, which is after each turn of the collector.
    private static let newsCountMax = 16
    /// The longest frame while there is no address: any that IP can carry.
    private static let frameByteCountMax = 65_535

    /// Opens the sockets if the host is an address, and looks it up otherwise.
    init(to target: TunnelTarget, now: MonotonicTime) {
        self.target = target
        self.now = now
        connect(now: now)
    }

    private var address: SocketAddress? {
        IPAddress(target.host).map { SocketAddress($0, port: target.port) }
    }

    private func connect(now: MonotonicTime) {
        retryAt = now + backoff.next()
        if let address { return open([address]) }
        do throws(SystemError) {
            lookup = try NameLookup(of: target.host, port: target.port)
        } catch {
            tellFailure("\(error)")
        }
    }

    /// Opens sockets to the first address that there is a route to.
    private func open(_ addresses: [SocketAddress]) {
        if let peer = sender?.peer, addresses.contains(peer) { return }
        var failure: SystemError?
        for address in addresses {
            do throws(SystemError) {
                let opened = try TunnelSender(to: address, target.header)
                endSender()
                sender = opened
                return tellOpened(opened)
            } catch {
                failure = error
            }
        }
        if let failure { tellFailure("\(failure)") }
    }

    private func endSender() {
        sender?.send(&outcomes)
        if let sender { outcomes.addQueueFull(count: sender.dropWaiting()) }
        sender = nil
    }

    func add(_ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, linkType: UInt16) {
        let byteCountMax = sender?.frameByteCountMax ?? Self.frameByteCountMax
        if refusals.refuse(frame, linkType: linkType, byteCountMax: byteCountMax) { return }
        guard let sender else {
            unaddressedCount &+= 1
            return
        }
        sender.add(frame, &outcomes)
    }

    func flush(now: MonotonicTime) {
        self.now = now
        sender?.send(&outcomes)
        if outcomes.takeFailure() { hasFailed = true }
        takeAnswer()
        guard lookup == nil, now >= retryAt else { return }
        if sender == nil {
            connect(now: now)
        } else if hasFailed, address == nil {
            hasFailed = false
            connect(now: now)
        }
    }

    var request: (fileDescriptor: CInt, interest: Readiness) {
        lookup.map { ($0.fileDescriptor, .readable) } ?? (-1, [])
    }

    func serve(_ ready: Readiness, now: MonotonicTime) {
        self.now = now
        takeAnswer()
    }

    private func takeAnswer() {
        guard let answer = lookup?.takeAnswer() else { return }
        lookup = nil
        switch answer {
        case .success(let addresses): open(addresses)
        case .failure(let failure): tellFailure("\(failure)")
        }
    }

    private func tellOpened(_ sender: TunnelSender) {
        toldReason = ""
        // The next failure is dealt with as the first one.
        backoff.reset()
        var values: Logger.Metadata = ["to": "\(target)", "address": "\(sender.peer)"]
        if let byteCount = sender.routeFrameByteCountMax {
            values["bytes_unfragmented"] = .number(byteCount)
        }
        tell("tunnel open", values, isWarning: false)
    }

    /// Tells a reason why there are no sockets, unless it was told last.
    private func tellFailure(_ reason: String) {
        guard reason != toldReason else { return }
        toldReason = reason
        tell("tunnel not open", ["to": "\(target)", "reason": "\(reason)"], isWarning: true)
    }

    private func tell(_ text: String, _ values: Logger.Metadata, isWarning: Bool) {
        guard news.count < Self.newsCountMax else { return }
        news.append(OutputNews(text, values, isWarning: isWarning))
    }

    func takeNews() -> [OutputNews] {
        for (errno, count) in outcomes.takeNews(now: now) {
            tell(
                "tunnel disturbed",
                ["to": "\(target)", "reason": "\(errno)", "times": .number(count)], isWarning: true)
        }
        defer { news = [] }
        return news
    }

    var counts: OutputCounts {
        var counts = OutputCounts(kind: target.kind.rawValue, place: "\(target)")
        outcomes.add(to: &counts)
        refusals.add(to: &counts)
        counts.addLoss("no address or route", unaddressedCount)
        return counts
    }

    func finish() { endSender() }
}
