/// A table of text that fits a window.
///
/// Columns are as wide as their widest cell, two spaces apart. Where that is too wide for the window,
/// names are cut in the middle, columns that are missed least are left out, and sentences are broken
/// between words.
package struct Table {
    package let columns: [Column]
    package private(set) var rows: [[Cell]] = []
    /// A last row, of sums, that is there whatever else is left out.
    package var total: [Cell]?

    /// Rows that were not added, since nobody would see them.
    package var furtherRowCount = 0

    /// A table without rows.
    package init(_ columns: [Column]) { self.columns = columns }

    /// A table with rows; see `append`.
    package init(_ columns: [Column], _ rows: [[Cell]]) {
        self.init(columns)
        for row in rows { append(row) }
    }

    /// Adds a row, which has a cell for each column.
    package mutating func append(_ row: [Cell]) {
        precondition(row.count == columns.count, "a row has a cell for each column")
        rows.append(row)
    }

    /// A column: its title, and what may happen to it where there is little room.
    package struct Column: Sendable {
        package let title: String
        package let form: Form
        /// How much it is missed: of several columns the one with the least rank is left out first.
        ///
        /// Nil for one that is never left out.
        package let rank: Int?
        /// The width to which names are cut before a column is left out.
        package let widthMin: Int

        /// What the cells of a column are.
        package enum Form: Sendable {
            /// Words, which are shown whole.
            case word
            /// A number, on the right.
            case number
            /// A name, which is cut in the middle if it is too long.
            case name
            /// A text whose beginning says most, which is cut at its end.
            case text
            /// A sentence, which is broken between words; only in the last column.
            case sentence
        }

        private init(_ title: String, _ form: Form, rank: Int?, widthMin: Int) {
            (self.title, self.form, self.rank, self.widthMin) = (title, form, rank, widthMin)
        }

        /// A column of words.
        package static func word(_ title: String, rank: Int? = nil) -> Self {
            Self(title, .word, rank: rank, widthMin: 0)
        }

        /// A column of numbers.
        package static func number(_ title: String, rank: Int? = nil) -> Self {
            Self(title, .number, rank: rank, widthMin: 0)
        }

        /// A column of names.
        ///
        /// The least width shows the beginning of a pod's name, and what tells it from others of its
        /// kind.
        package static func name(_ title: String, rank: Int? = nil, widthMin: Int = 22) -> Self {
            Self(title, .name, rank: rank, widthMin: widthMin)
        }

        /// A column of texts.
        package static func text(_ title: String, rank: Int? = nil, widthMin: Int = 16) -> Self {
            Self(title, .text, rank: rank, widthMin: widthMin)
        }

        /// The last column, if it is one of sentences.
        ///
        /// A sentence in a column narrower than `widthMin` is hard to read, so it stands below its row.
        package static func sentence(_ title: String, widthMin: Int = 32) -> Self {
            Self(title, .sentence, rank: nil, widthMin: widthMin)
        }
    }

    /// A cell: a text, and what sets it off.
    package struct Cell: ExpressibleByStringInterpolation, Sendable {
        package let text: String
        package let emphasis: Emphasis

        /// A cell with a text.
        ///
        /// Names of interfaces and devices may have any characters: those that move a terminal's cursor
        /// become question marks.
        package init(_ text: String, _ emphasis: Emphasis = .none) {
            self.text = Wording.visible(text)
            self.emphasis = emphasis
        }

        package init(stringLiteral text: String) { self.init(text) }
    }
}
