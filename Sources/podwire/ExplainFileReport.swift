import CaptureFiles
import Edges
import Explain
import Formats
import Linux
import Observation

/// What `podwire explain --file` says of a capture file, as text or as JSON.
struct FileReport {
    private let rows: [(words: Words, count: Int)]
    private let total: Int
    private let puntedCount: Int
    private let requests: [FileExplanation.RequestResult: Int]
    private let notHeldCount: Int
    private let unanswered: UnansweredRequests
    /// Where the file was recorded; nil if that is not one edge, or not known.
    private let edge: (name: String, source: ExplainedFile.Source)?
    /// Remarks about the file without which the table misleads, and which are read before it.
    let doubts: [String]
    /// Further remarks about the file.
    let remarks: [String]

    /// What is said of a packet: outcomes of different steps can be the same to a reader.
    private struct Words: Hashable {
        let isReported: String
        let place: String
        let reason: String

        init(_ row: FileExplanation.Row) {
            isReported = FileReport.reported(row)
            place = PacketReport.place(row.isDecidedByKernel)
            reason = FileReport.reason(row)
        }
    }

    /// The most unanswered requests that the text lists.
    private static let listedCountMax = 20

    /// Whether there is no packet whose edge is known.
    var isEmpty: Bool { total == 0 }

    /// The report of a file in which nothing is to be explained.
    init(refusal: String) {
        (rows, total, puntedCount, requests, notHeldCount) = ([], 0, 0, [:], 0)
        unanswered = UnansweredRequests()
        (edge, doubts, remarks) = (nil, [refusal], [])
    }

    /// The report of an explanation that has come to its end.
    ///
    /// `damage` is why the file could not be read to its end; nil if it could.
    init(
        _ explanation: borrowing FileExplanation, _ reader: borrowing CaptureReader,
        _ file: ExplainedFile, _ selection: ExplainedSelection, damage: String? = nil
    ) {
        edge = file.edge.map { ($0.name, file.source) }
        var counts: [Words: Int] = [:]
        for (row, count) in explanation.counts { counts[Words(row), default: 0] += count }
        rows = counts.sorted { ($1.value, "\($0.key)") < ($0.value, "\($1.key)") }
            .map { ($0.key, $0.value) }
        total = explanation.frameCount - explanation.strangerCount
        puntedCount = explanation.puntedCount
        var requests: [FileExplanation.RequestResult: Int] = [:]
        for result in FileExplanation.RequestResult.allCases {
            requests[result] = explanation.requestCount(result)
        }
        self.requests = requests
        notHeldCount = explanation.notHeldCount
        unanswered = explanation.unanswered
        let limit =
            selection.isEverything
            ? nil
            : "the table says what the rule reports: filter, sample and cutoff may leave out more"
        doubts = Self.doubts(explanation, reader, file)
        remarks = Self.remarks(explanation, reader) + [limit, damage].compactMap(\.self)
    }

    private func count(_ result: FileExplanation.RequestResult) -> Int { requests[result] ?? 0 }

    private var heldCount: Int { requests.values.reduce(0, +) }
}

/// As text.
extension FileReport {
    /// The tables for people.
    func text(in window: Window) -> String {
        guard !isEmpty else { return "" }
        let cells = rows.map { words, count in
            [
                "\(count)", Self.percentage(count, of: total), words.isReported, words.place,
                words.reason,
            ].map { Table.Cell($0) }
        }
        let table = Table(
            [
                .number("PACKETS"), .number("SHARE", rank: 1), .word("REPORTED"),
                .word("DECIDED IN", rank: 2), .sentence("WHY"),
            ], cells)
        return place(in: window) + table.text(in: window.ofSentences) + "\n"
            + window.paragraph(summary)
            + (requestText.isEmpty ? "" : window.paragraph(requestText)) + list(in: window)
    }

    /// Where the file was recorded, if its user has not said it.
    private func place(in window: Window) -> String {
        guard let edge, edge.source != .user else { return "" }
        let reason =
            edge.source == .interface
            ? "as its interface is named" : "as the MAC addresses of its packets say"
        let sentence = "The file was recorded at \(edge.name), \(reason)."
        return window.paragraph("\(sentence) --edge names another edge.") + "\n"
    }

    private var summary: String {
        guard total > 1 else {
            return "1 packet, decided in \(PacketReport.place(puntedCount == 0))"
        }
        let share = Self.percentage(puntedCount, of: total)
        return "\(total) packets, \(puntedCount) of them decided in user space (\(share))"
    }

    private var requestText: String {
        guard heldCount + notHeldCount > 0 else { return "" }
        var parts = ["\(count(.answered)) answered", "\(count(.unanswered)) unanswered"]
        if count(.undecided) > 0 { parts.append("\(count(.undecided)) open when the file ends") }
        let notHeld = notHeldCount > 0 ? "; \(notHeldCount) more not held" : ""
        return "\(Wording.count(heldCount, "request")) between pods held: "
            + parts.joined(separator: ", ") + notHeld
    }

    private func list(in window: Window) -> String {
        let all = unanswered.sortedRows
        guard !all.isEmpty else { return "" }
        let listed = all.prefix(Self.listedCountMax).map { row in
            [
                TimeStamp.text(nanoseconds: row.firstNanoseconds), row.kind.name,
                "\(row.source)", "\(row.destination)", "\(row.count)", Self.reported(row),
            ].map { Table.Cell($0) }
        }
        var table = Table(
            [
                .word("FIRST", rank: 2), .word("KIND", rank: 1), .name("FROM"), .name("TO"),
                .number("TIMES"), .word("REPORTED", rank: 3),
            ], listed)
        table.furtherRowCount = all.count - listed.count
        return "\nRequests that nobody answered within half a second:\n\n"
            + table.text(in: window, hint: "--json lists all")
    }

    /// How a request is reported that nobody answered.
    private static func reported(_ row: UnansweredRequests.Row) -> String {
        if row.senderCount > 0 { return "late" }
        return row.atOnceCount > 0 ? "at once" : "late, at the sender's edge"
    }

    private static func reported(_ row: FileExplanation.Row) -> String {
        if row.request == .undecided { return "unknown" }
        return row.isReported ? "yes" : "no"
    }

    private static func reason(_ row: FileExplanation.Row) -> String {
        switch (row.request, row.isReported) {
        case (nil, _): row.step.description
        case (.answered, true): "a request that was answered: reported right before its answer"
        case (.answered, false): "a request that was answered: the other pod's edge reports it"
        case (.unanswered, true):
            "a request that nobody answered within half a second: reported late"
        case (.unanswered, false):
            "a request that nobody answered within half a second: its sender's edge reports it"
        case (.undecided, _): "a request that was open when the file ended"
        }
    }

    /// The remarks without which the table misleads.
    private static func doubts(
        _ explanation: borrowing FileExplanation, _ reader: borrowing CaptureReader,
        _ file: ExplainedFile
    ) -> [String] {
        var doubts: [String] = []
        let (strangers, ambiguous) = (explanation.strangerCount, explanation.ambiguousCount)
        let hasOthers = explanation.frameCount > strangers
        if let absence = absence(explanation, reader) { doubts.append(absence) }
        if hasOthers, reader.isPodwires, file.hasNamedEdge {
            doubts.append(
                """
                the file is podwire's: unless it is of one edge (rpcap://AGENT/EDGE), all of it has been \
                reported already, and the table says nothing about it
                """)
        }
        if strangers > 0 {
            let more = hasOthers ? "more " : ""
            let have = Wording.count(
                strangers, one: "\(more)packet has", more: "\(more)packets have")
            doubts.append(
                """
                \(have) no MAC address of a pod that is on this node now: run explain on the node \
                where the file was recorded, while its pods are there, or name the edge with \
                --edge\(hasOthers ? "" : "; a file of podwire collect has no edge")
                """)
        }
        if ambiguous > 0 {
            let are = Wording.count(ambiguous, one: "packet is", more: "packets are")
            doubts.append(
                """
                \(are) between two pods of this node, taken as recorded at the sender's edge: give \
                --edge to say where the file was recorded
                """)
        }
        if reader.skippedCount > 0, explanation.frameCount > 0 {
            doubts.append("\(reader.skippedText): record at an edge")
        }
        return doubts
    }

    /// The remarks about the end of the file.
    private static func remarks(
        _ explanation: borrowing FileExplanation, _ reader: borrowing CaptureReader
    ) -> [String] {
        var remarks: [String] = []
        if explanation.openCount > 0 {
            let were = Wording.count(
                explanation.openCount, one: "request was", more: "requests were")
            remarks.append(
                "\(were) still open when the file ended, and may have been answered or not")
        }
        if reader.isCutShort, explanation.frameCount > 0 {
            remarks.append(CaptureReader.cutShortText)
        }
        return remarks
    }

    /// Why a file has no frames, and what to do; nil if it has some.
    private static func absence(
        _ explanation: borrowing FileExplanation, _ reader: borrowing CaptureReader
    ) -> String? {
        guard explanation.frameCount == 0 else { return nil }
        guard let linkType = reader.skippedLinkType else {
            return reader.isCutShort
                ? "the file ends in the middle of its first packet" : "the file has no packets"
        }
        let name = LinkTypeName.text(linkType)
        let isAny = name.hasPrefix("LINUX_SLL")
        return """
            the file has no Ethernet frames, but packets of the link type \(name)\
            \(isAny ? ", as tcpdump -i any records them" : ""): record at an edge, with tcpdump -i VETH
            """
    }

    private static func percentage(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "0 %" }
        let tenths = (part * 1000 + whole / 2) / whole
        // All and nothing are exact.
        return part == whole || part == 0 ? "\(tenths / 10) %" : "\(tenths / 10).\(tenths % 10) %"
    }
}

/// As JSON.
extension FileReport {
    /// An object for programs, with all requests that nobody answered.
    var json: JSON {
        let outcomes = rows.map { words, count in
            JSON.object([
                ("packets", .number(count)), ("reported", .text(words.isReported)),
                ("decided_in", .text(words.place)), ("why", .text(words.reason)),
            ])
        }
        return .object([
            ("edge", edge.map { .text($0.name) } ?? .null),
            ("edge_is_inferred", .boolean(edge.map { $0.source != .user } ?? false)),
            ("packets", .number(total)), ("decided_in_user_space", .number(puntedCount)),
            ("outcomes", .array(outcomes)), ("requests", requestJSON),
            ("notes", .array((doubts + remarks).map { .text($0) })),
        ])
    }

    private var requestJSON: JSON {
        let list = unanswered.sortedRows.map { row in
            JSON.object([
                ("first", .text(TimeStamp.text(nanoseconds: row.firstNanoseconds))),
                ("kind", .text(row.kind.name)),
                ("from", .text("\(row.source)")), ("to", .text("\(row.destination.address)")),
                ("port", row.destination.port.map { .number(Int($0)) } ?? .null),
                ("times", .number(row.count)), ("reported", .text(Self.reported(row))),
            ])
        }
        return .object([
            ("held", .number(heldCount)), ("answered", .number(count(.answered))),
            ("unanswered", .number(count(.unanswered))), ("open", .number(count(.undecided))),
            ("not_held", .number(notHeldCount)), ("nobody_answered", .array(list)),
            ("not_listed", .number(unanswered.leftOutCount)),
        ])
    }
}
