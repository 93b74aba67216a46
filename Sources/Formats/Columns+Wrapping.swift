/// Tables with sentences, which are broken into lines.
extension Columns {
    /// The least width at which the last column is broken beside the others.
    ///
    /// A sentence in a narrower column is hard to read.
    private static let lastWidthMin = 32
    private static let indent = 4

    /// A table whose last column is a sentence, in lines of up to `width` characters.
    ///
    /// If the other columns leave no room for the last one, it stands below them, without its title.
    package static func text(_ head: [String], _ rows: [[String]], width: Int) -> String {
        let start = head.indices.dropLast().reduce(0) { sum, column in
            sum + 2 + (([head] + rows).map { $0[column].count }.max() ?? 0)
        }
        let longest = rows.map { $0.last?.count ?? 0 }.max() ?? 0
        guard start + longest > width else { return text(head, rows) }
        guard width - start >= lastWidthMin else {
            let others = text(head.dropLast(), rows.map { $0.dropLast() })
            let lines = others.split(separator: "\n").map(String.init)
            return zip(lines, [nil] + rows.map(\.last)).map { line, sentence in
                let pad = String(repeating: " ", count: indent)
                let text = sentence ?? ""
                let below = text.isEmpty ? [] : Wording.lines(text, width: width - indent)
                return ([line] + below.map { pad + $0 }).joined(separator: "\n") + "\n"
            }.joined()
        }
        let broken = rows.flatMap { row in
            Wording.lines(row.last ?? "", width: width - start).enumerated().map { index, line in
                row.dropLast().map { index == 0 ? $0 : "" } + [line]
            }
        }
        return text(head, broken)
    }
}
