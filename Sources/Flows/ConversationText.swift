package import Formats

/// A table of conversations as text that fits a window.
package struct ConversationText {
    private let list: ConversationList
    private let timeText: (UInt64) -> String

    /// Makes the text of a list.
    ///
    /// - Parameters:
    ///   - list: The conversations.
    ///   - timeText: Writes a time, in nanoseconds since 1970.
    package init(_ list: ConversationList, timeText: @escaping (UInt64) -> String) {
        (self.list, self.timeText) = (list, timeText)
    }

    /// Writes the table; the parameters are those of `Table.text`.
    package func text(
        in window: Window, lineCountMax: Int? = nil, hint: String? = nil
    ) -> String {
        let parts = parts
        var table = Table(parts.map(\.column))
        for row in list.rows { table.append(parts.map { $0.cell(row) }) }
        table.furtherRowCount = list.matchCount - list.rows.count
        return table.text(in: window, lineCountMax: lineCountMax, hint: hint)
    }

    /// A column, and the text of a row there.
    private struct Part {
        let column: Table.Column
        let cell: (ConversationList.Row) -> Table.Cell
    }

    /// The columns, in order.
    private var parts: [Part] {
        let requests: [(String, Int, KeyPath<ConversationCounts, Int>)] = [
            ("UNANSWERED", 7, \.unansweredCount), ("REFUSED", 6, \.refusedCount),
        ]
        var numbers = [number("BYTES", rank: 8) { "\(ByteCount($0.counts.byteCount))" }]
        // A column of zeros tells nothing, but to who has sorted by it.
        numbers += requests.filter { title, _, count in
            isOrder(title) || list.rows.contains { $0.counts[keyPath: count] > 0 }
        }.map { title, rank, count in
            Part(column: column(title, rank: rank)) {
                let number = $0.counts[keyPath: count]
                return Table.Cell("\(number)", number > 0 ? .warning : .none)
            }
        }
        numbers += [
            number("RATE", rank: 5) { BitRate($0.bitsPerSecond).description },
            number("PACKETS", rank: 4) { "\($0.counts.packetCount)" },
            number("REQUESTS", rank: 3) { "\($0.counts.requestCount)" },
            number("LAST", rank: 2) { timeText($0.counts.last) },
            number("FIRST", rank: 1) { timeText($0.counts.first) },
        ]
        // What the rows are sorted by comes first.
        if let place = numbers.firstIndex(where: { isOrder($0.column.title) }) {
            numbers.insert(numbers.remove(at: place), at: 0)
        }
        return [
            Part(column: .name("CLIENT")) { Table.Cell($0.client) },
            Part(column: .name("SERVICE")) { Table.Cell($0.service) },
        ] + numbers
    }

    private func number(
        _ title: String, rank: Int, _ text: @escaping (ConversationList.Row) -> String
    ) -> Part {
        Part(column: column(title, rank: rank)) { Table.Cell(text($0)) }
    }

    /// A column of numbers; that by which rows are sorted is never left out.
    private func column(_ title: String, rank: Int) -> Table.Column {
        .number(title, rank: isOrder(title) ? nil : rank)
    }

    private func isOrder(_ title: String) -> Bool { title == list.order.rawValue.uppercased() }
}

/// A rate as people write it: `"1.5 Mbit/s"`.
struct BitRate: CustomStringConvertible {
    private let bitsPerSecond: UInt64

    init(_ bitsPerSecond: UInt64) { self.bitsPerSecond = bitsPerSecond }

    private static let units = ["kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"]

    /// The number with one decimal and the largest unit that fits; units are powers of ten.
    ///
    /// With the loop unrolled over a list of texts, the compiler (6.3) made other code from the same
    /// source now and then.
    var description: String {
        guard bitsPerSecond >= 1000 else { return "\(bitsPerSecond) bit/s" }
        var (tenths, unit) = (bitsPerSecond / 100, 0)
        while tenths >= 10_000, unit + 1 < Self.units.count {
            tenths /= 1000
            unit += 1
        }
        return "\(tenths / 10).\(tenths % 10) \(Self.units[unit])"
    }
}
