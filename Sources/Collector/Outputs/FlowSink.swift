package import Addressing
package import Flows
package import Formats
package import Linux
import Logging
package import Time

/// What is done with the conversations that a collector counts.
package struct FlowOptions: Sendable {
    /// The file that has them as JSON, a line for each; nil for none.
    package var path: String?
    /// What a terminal shows of them in place of the agents; nil for nothing.
    package var view: View?

    /// What people want to see.
    package struct View: Sendable {
        let order: ConversationList.Order
        let words: [String]
        let countMax: Int

        /// A view; the parameters are those of `ConversationList`, and the most rows.
        package init(by order: ConversationList.Order, filter words: [String], countMax: Int) {
            (self.order, self.words, self.countMax) = (order, words, countMax)
        }
    }

    package init(path: String? = nil, view: View? = nil) { (self.path, self.view) = (path, view) }
}

/// A sink that counts conversations, for a person who looks and for a file that programs read.
package final class FlowSink: FrameSink {
    package private(set) var table = ConversationTable()
    private let known: KnownNames
    let view: FlowOptions.View?
    private let path: String?
    /// This host's clock at the last turn, in nanoseconds since 1970.
    private var clock = wallClockNanoseconds()
    private var refusals = FrameRefusals()
    private var nextWrite: MonotonicTime
    private var lastFailure: SystemError?
    private var news: [OutputNews] = []
    /// What was shown last, for rates.
    private var shown: (byteCounts: [Conversation: UInt64], at: MonotonicTime)?

    /// The time between two writes of the file.
    private static let writeInterval = Duration.seconds(10)
    /// The most conversations in the file, those with the most bytes: what is written in 0.3 s.
    private static let writtenCountMax = 10_000
    /// How far an agent's clock may be ahead before its stamps count as of now.
    private static let aheadMax: UInt64 = 1_000_000_000

    /// Counts nothing yet; makes the file.
    init(_ options: FlowOptions, _ known: KnownNames, now: MonotonicTime) throws(SystemError) {
        self.known = known
        (view, path) = (options.view, options.path)
        nextWrite = now + Self.writeInterval
        if let path { try write(to: path) }
    }

    package func add(
        _ frame: RawSpan, wireByteCount: Int, nanoseconds: UInt64, linkType: UInt16
    ) {
        if refusals.refuse(frame, linkType: linkType, byteCountMax: .max) { return }
        table.add(
            frame, wireByteCount: wireByteCount,
            nanoseconds: min(nanoseconds, clock &+ Self.aheadMax),
            clock: clock)
    }

    /// The names of addresses, also of pods that are gone.
    package var names: [IPAddress: String] { known.byAddress }

    package func flush(now: MonotonicTime) {
        clock = wallClockNanoseconds()
        table.advance(to: clock)
        guard let path, now >= nextWrite else { return }
        nextWrite = now + Self.writeInterval
        replace(path)
    }

    package func finish() {
        table.finish()
        if let path { replace(path) }
    }

    /// Replaces the file; tells a failure once for each reason.
    private func replace(_ path: String) {
        do throws(SystemError) {
            try write(to: path)
            lastFailure = nil
        } catch {
            guard error != lastFailure else { return }
            lastFailure = error
            news.append(
                OutputNews(
                    "conversations not written", ["path": "\(path)", "reason": "\(error)"],
                    isWarning: true))
        }
    }

    private func write(to path: String) throws(SystemError) {
        let list = ConversationList(
            table, names: names, by: .bytes, countMax: Self.writtenCountMax, since: nil)
        try replaceFile(path, with: Array(list.rows.map { $0.json.text + "\n" }.joined().utf8))
    }

    /// The conversations that the view wants, with their rates since the last call.
    func takeList(
        _ view: FlowOptions.View, countMax: Int, now: MonotonicTime
    ) -> ConversationList {
        let before = shown.map { shown in
            (byteCounts: shown.byteCounts, nanoseconds: (now - shown.at).clampedNanoseconds)
        }
        let list = ConversationList(
            table, names: names, filter: view.words, by: view.order, countMax: countMax,
            since: before.map { ($0.byteCounts, UInt64($0.nanoseconds)) })
        let counts = table.conversations.map { ($0.key, $0.value.byteCount) }
        shown = (Dictionary(uniqueKeysWithValues: counts), now)
        return list
    }

    package var request: (fileDescriptor: CInt, interest: Readiness) { (-1, []) }

    package func serve(_ ready: Readiness, now: MonotonicTime) {}

    package func takeNews() -> [OutputNews] {
        defer { news = [] }
        return news
    }

    package var counts: OutputCounts {
        var counts = OutputCounts(kind: "flows", place: path ?? "memory")
        counts.packetCount = table.frameCount
        counts.byteCount = table.byteCount
        refusals.add(to: &counts)
        return counts
    }
}

extension ConversationList.Row {
    /// An object for programs.
    package var json: JSON {
        .object([
            ("client", .text("\(conversation.client)")),
            ("client_name", clientName.map { .text($0) } ?? .null),
            ("service", .text("\(conversation.service)")),
            ("service_name", serviceName.map { .text($0) } ?? .null),
            ("port", conversation.port.map { .number(Int($0)) } ?? .null),
            ("protocol", .text(conversation.transportName)),
            ("client_packets", Self.number(counts.client.packetCount)),
            ("client_bytes", Self.number(counts.client.byteCount)),
            ("service_packets", Self.number(counts.service.packetCount)),
            ("service_bytes", Self.number(counts.service.byteCount)),
            ("bits_per_second", Self.number(bitsPerSecond)),
            ("first", .text(TimeStamp.text(nanoseconds: counts.first))),
            ("last", .text(TimeStamp.text(nanoseconds: counts.last))),
            ("requests", .number(counts.requestCount)),
            ("refused", .number(counts.refusedCount)),
            ("unanswered", .number(counts.unansweredCount)),
        ])
    }

    private static func number(_ count: UInt64) -> JSON { .number(Int(clamping: count)) }
}
