extension Table {
    /// The table's lines, each with its line end.
    ///
    /// - Parameters:
    ///   - window: The window that each line fits.
    ///   - lineCountMax: The most lines, with the head and the total; nil for all. Sentences may need
    ///     more lines than their rows.
    ///   - hint: What to do to see the rows that are left out: `"--count shows more"`.
    /// - Returns: The head, the rows, a line that says how many rows are left out, and the total.
    package func text(
        in window: Window, lineCountMax: Int? = nil, hint: String? = nil
    ) -> String {
        let layout = layout(width: window.width)
        let shownCount = shownRowCount(lineCountMax)
        var lines = [line(columns.map { Cell($0.title, .strong) }, layout, window)]
        for row in rows.prefix(shownCount) { lines += self.lines(of: row, layout, window) }
        let leftOutCount = rows.count - shownCount + furtherRowCount
        if leftOutCount > 0 {
            let more = "… and \(leftOutCount) more" + (hint.map { "; \($0)" } ?? "")
            lines.append(window.text(Self.cut(more, .text, to: window.width ?? .max), .faint))
        }
        if let total {
            lines.append(line(total.map { Cell($0.text, .strong) }, layout, window))
        }
        return lines.map { $0 + "\n" }.joined()
    }

    /// The rows that have room, of which a line may have to say how many there are more.
    private func shownRowCount(_ lineCountMax: Int?) -> Int {
        guard let lineCountMax else { return rows.count }
        let room = max(0, lineCountMax - 1 - (total == nil ? 0 : 1))
        let isWhole = rows.count <= room && furtherRowCount == 0
        return isWhole ? rows.count : min(rows.count, max(0, room - 1))
    }

    /// The lines of a row, without line ends.
    private func lines(of row: [Cell], _ layout: Layout, _ window: Window) -> [String] {
        guard columns.last?.form == .sentence, let sentence = row.last else {
            return [line(row, layout, window)]
        }
        if layout.hasSentencesBelow {
            let windowWidth = window.width ?? .max
            let indent = min(Self.indent, windowWidth / 2)
            let width = windowWidth - indent
            let pad = String(repeating: " ", count: indent)
            let below =
                sentence.text.isEmpty
                ? [] : Wording.lines(sentence.text, width: width, breaksWords: true)
            return [line(row, layout, window)]
                + below.map { pad + window.text($0, sentence.emphasis) }
        }
        let width = layout.widths.last ?? 0
        let texts = Wording.lines(sentence.text, width: width, breaksWords: true)
        return texts.enumerated().map { index, text in
            let others = index == 0 ? row.dropLast() : row.dropLast().map { _ in Cell("") }
            return line(others + [Cell(text, sentence.emphasis)], layout, window)
        }
    }

    /// A line, cut at the window's edge, since a line that wraps would be two.
    private func line(_ row: [Cell], _ layout: Layout, _ window: Window) -> String {
        var (line, room) = ("", window.width ?? .max)
        // Nothing follows the last cell with a text, so neither it nor what is behind it is padded.
        let shown = zip(layout.places, layout.widths).map { (place: $0, width: $1) }
        let last = shown.lastIndex { !row[$0.place].text.isEmpty } ?? -1
        for (index, column) in shown.prefix(last + 1).enumerated() {
            let (cell, form) = (row[column.place], columns[column.place].form)
            let text = String(
                Self.fitted(cell.text, form, column.width, isLast: index == last).prefix(room))
            line += window.text(text, cell.emphasis)
            room -= text.count
            if index < last {
                let space = min(Self.gap, room)
                line += String(repeating: " ", count: space)
                room -= space
            }
        }
        return line
    }

    /// A cell as wide as its column: numbers to the right, all else to the left.
    private static func fitted(
        _ text: String, _ form: Column.Form, _ width: Int, isLast: Bool
    ) -> String {
        let text = cut(text, form, to: width)
        let space = String(repeating: " ", count: max(0, width - text.count))
        if form == .number { return space + text }
        return isLast ? text : text + space
    }

    /// A text that is no longer than a width.
    ///
    /// A name keeps what is behind its last colon or space whole, if there is room: without its port a
    /// service would be another one.
    static func cut(_ text: String, _ form: Column.Form, to width: Int) -> String {
        guard text.count > width else { return text }
        guard form == .name else { return String(text.prefix(max(0, width - 1))) + "…" }
        let port = text.lastIndex { $0 == ":" || $0 == " " }
        let portCount = port.map { text[$0...].count } ?? 0
        let end = min(max((width - 1) / 2, portCount), max(0, width - 2))
        return String(text.prefix(max(0, width - 1 - end))) + "…" + text.suffix(end)
    }
}
