import Flows
import Formats
import Linux

/// What `podwire top` says of conversations, as text or as JSON.
struct TopReport {
    private let list: ConversationList
    private let frameCount: UInt64
    private let otherCount: UInt64
    private let forgottenCount: Int

    /// The report of a table, of which a list has what is wanted.
    init(_ table: borrowing ConversationTable, _ list: ConversationList) {
        self.list = list
        frameCount = table.frameCount
        otherCount = table.otherCount
        forgottenCount = table.forgottenCount
    }

    /// A table for people, with a line above it and perhaps some below.
    func text(width: Int, countMax: Int) -> String {
        let conversations = list.rows.count + list.filteredCount
        var text =
            "\(Wording.count(Int(clamping: frameCount), "packet")), "
            + "\(Wording.count(conversations, "conversation"))\n"
        guard !list.rows.isEmpty else {
            return text + (list.filteredCount > 0 ? "none of them has the text of --only\n" : "")
        }
        text +=
            "\n"
            + ConversationText(list, timeText: Self.clock).text(width: width, countMax: countMax)
        if list.rows.count > countMax {
            text += "and \(list.rows.count - countMax) more; --count shows more of them\n"
        }
        if otherCount > 0 {
            text += "\(Wording.count(Int(clamping: otherCount), "frame")) without IP\n"
        }
        if forgottenCount > 0 {
            text += "\(forgottenCount) conversations were forgotten, since there were too many\n"
        }
        return text
    }

    /// The time of day in UTC.
    private static func clock(_ nanoseconds: UInt64) -> String {
        String(TimeStamp.text(nanoseconds: nanoseconds).dropFirst(11).prefix(8))
    }

    /// An object for programs.
    func json(countMax: Int) -> JSON {
        let rows = list.rows.prefix(countMax).map { row in
            let counts = row.counts
            return JSON.object([
                ("client", .text("\(row.conversation.client)")),
                ("clientName", row.clientName.map { .text($0) } ?? .null),
                ("service", .text("\(row.conversation.service)")),
                ("serviceName", row.serviceName.map { .text($0) } ?? .null),
                ("port", row.conversation.port.map { .number(Int($0)) } ?? .null),
                ("protocol", .text(row.conversation.transportName)),
                ("clientPackets", .number(counts.client.packetCount)),
                ("clientBytes", .number(counts.client.byteCount)),
                ("servicePackets", .number(counts.service.packetCount)),
                ("serviceBytes", .number(counts.service.byteCount)),
                ("bitsPerSecond", .number(row.bitsPerSecond)),
                ("first", .text(TimeStamp.text(nanoseconds: counts.first))),
                ("last", .text(TimeStamp.text(nanoseconds: counts.last))),
                ("requests", .number(counts.requestCount)),
                ("refused", .number(counts.refusedCount)),
                ("unanswered", .number(counts.unansweredCount)),
            ])
        }
        return .object([
            ("packets", .number(frameCount)), ("withoutIP", .number(otherCount)),
            ("forgotten", .number(forgottenCount)), ("conversations", .array(rows)),
        ])
    }
}

extension JSON {
    fileprivate static func number(_ count: UInt64) -> JSON { .number(Int(clamping: count)) }
}
