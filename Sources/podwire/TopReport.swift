import Collector
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
    func text(in window: Window) -> String {
        let conversations = list.matchCount + list.filteredCount
        var text =
            "\(Wording.count(Int(clamping: frameCount), "packet")), "
            + "\(Wording.count(conversations, "conversation"))\n"
        guard !list.rows.isEmpty else {
            return text + (list.filteredCount > 0 ? "none of them has the text of --only\n" : "")
        }
        text +=
            "\n"
            + ConversationText(list, timeText: TimeStamp.clockText)
            .text(in: window, hint: "--count shows more of them")
        if otherCount > 0 {
            text += "\(Wording.count(Int(clamping: otherCount), "frame")) without IP\n"
        }
        if forgottenCount > 0 {
            text += "\(forgottenCount) conversations were forgotten, since there were too many\n"
        }
        return text
    }

    /// An object for programs.
    var json: JSON {
        .object([
            ("packets", .number(frameCount)), ("without_ip", .number(otherCount)),
            ("forgotten", .number(forgottenCount)),
            ("conversations", .array(list.rows.map(\.json))),
        ])
    }
}

extension JSON {
    fileprivate static func number(_ count: UInt64) -> JSON { .number(Int(clamping: count)) }
}
