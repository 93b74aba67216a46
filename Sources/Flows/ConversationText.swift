import Formats

/// A table of conversations as text that fits a window.
///
/// What does not fit is left out: first the columns that are least missed, then the ends of long names.
package struct ConversationText {
    private let list: ConversationList
    private let timeText: (UInt64) -> String

    /// The width to which names are cut before a column is left out: the beginning of a pod's name, and
    /// what tells it from others of its kind.
    private static let nameWidthMin = 22
    private static let gap = 2

    /// Makes the text of a list.
    ///
    /// - Parameters:
    ///   - list: The conversations.
    ///   - timeText: Writes a time, in nanoseconds since 1970.
    package init(_ list: ConversationList, timeText: @escaping (UInt64) -> String) {
        (self.list, self.timeText) = (list, timeText)
    }

    /// A column: its title, and the text of a row.
    private struct Column {
        let title: String
        var isName = false
        let cells: [String]

        init(_ title: String, isName: Bool = false, _ cells: [String]) {
            (self.title, self.isName, self.cells) = (title, isName, cells)
        }

        var width: Int { cells.map(\.count).max().map { max($0, title.count) } ?? title.count }
    }

    /// Writes the table.
    ///
    /// - Parameters:
    ///   - width: The most characters of a line.
    ///   - countMax: The most rows.
    /// - Returns: Lines, each with its line end: a head, and a row for each conversation.
    package func text(width: Int, countMax: Int = .max) -> String {
        var columns = columns(Array(list.rows.prefix(max(0, countMax))))
        // Names may be cut to the least width before a column goes.
        while columns.count > 3, Self.leastWidth(columns) > width { columns.removeLast() }
        let widths = Self.widths(columns, width)
        let rowCount = columns[0].cells.count
        return ([nil] + (0..<rowCount).map { $0 }).map { row in
            let cells = zip(columns, widths).map { column, width in
                Self.fitted(row.map { column.cells[$0] } ?? column.title, width, column.isName)
            }
            let line = cells.joined(separator: String(repeating: " ", count: Self.gap))
            return String(line.prefix(max(width, 1))) + "\n"
        }.joined()
    }

    /// The columns, those that are missed most first.
    private func columns(_ rows: [ConversationList.Row]) -> [Column] {
        var columns = [
            Column("CLIENT", isName: true, rows.map(\.client)),
            Column("SERVICE", isName: true, rows.map(\.service)),
            Column("BYTES", rows.map { "\(ByteCount($0.counts.byteCount))" }),
        ]
        // A column of zeros tells nothing.
        for (title, count) in [
            ("UNANSWERED", \ConversationCounts.unansweredCount), ("REFUSED", \.refusedCount),
        ] where list.rows.contains(where: { $0.counts[keyPath: count] > 0 }) {
            columns.append(Column(title, rows.map { "\($0.counts[keyPath: count])" }))
        }
        columns += [
            Column("RATE", rows.map { BitRate($0.bitsPerSecond).description }),
            Column("PACKETS", rows.map { "\($0.counts.packetCount)" }),
            Column("REQUESTS", rows.map { "\($0.counts.requestCount)" }),
            Column("LAST", rows.map { timeText($0.counts.last) }),
            Column("FIRST", rows.map { timeText($0.counts.first) }),
        ]
        // What the rows are sorted by is never left out.
        if let place = columns.firstIndex(where: { $0.title == list.order.rawValue.uppercased() }),
            place > 2
        {
            columns.insert(columns.remove(at: place), at: 2)
        }
        return columns
    }

    private static func leastWidth(_ columns: [Column]) -> Int {
        columns.reduce(gap * (columns.count - 1)) {
            $0 + ($1.isName ? min($1.width, nameWidthMin) : $1.width)
        }
    }

    /// The widths of columns: those of names share what the others leave.
    private static func widths(_ columns: [Column], _ width: Int) -> [Int] {
        let fixed = columns.reduce(gap * (columns.count - 1)) { $0 + ($1.isName ? 0 : $1.width) }
        let names = columns.filter(\.isName).map(\.width)
        let room = max(width - fixed, 2)
        guard names.reduce(0, +) > room, names.count == 2 else { return columns.map(\.width) }
        // A name that needs less than half leaves the rest to the other.
        let half = room / 2
        let first = names[0] <= half ? names[0] : names[1] <= half ? room - names[1] : half
        return [first, room - first] + columns.dropFirst(2).map(\.width)
    }

    /// A cell as wide as its column: names to the left, and cut in the middle; numbers to the right.
    private static func fitted(_ text: String, _ width: Int, _ isName: Bool) -> String {
        guard text.count <= width else {
            // Without its port whole, a service would be another one.
            let port = isName ? text.lastIndex(where: { $0 == ":" || $0 == " " }) : nil
            let portCount = port.map { text[$0...].count } ?? 0
            let end = min(max((width - 1) / 2, portCount), max(0, width - 2))
            return text.prefix(max(0, width - 1 - end)) + "…" + text.suffix(end)
        }
        let space = String(repeating: " ", count: width - text.count)
        return isName ? text + space : space + text
    }
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
