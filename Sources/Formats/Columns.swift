/// A table of text: columns as wide as their widest cell, two spaces apart.
package enum Columns {
    /// The table's lines, each with its line end.
    ///
    /// Each row has as many cells as the head has titles.
    package static func text(_ head: [String], _ rows: [[String]]) -> String {
        let all = [head] + rows
        let widths = head.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
        return all.map { row in
            let cells = row.enumerated().map { column, cell in
                // Nothing follows the last cell, so it needs no padding.
                column + 1 == row.count ? cell : Wording.padded(cell, to: widths[column])
            }
            return cells.joined(separator: "  ") + "\n"
        }.joined()
    }
}
