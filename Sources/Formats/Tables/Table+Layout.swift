extension Table {
    /// Which columns are shown, and how wide.
    struct Layout: Equatable {
        /// The places of the columns that are shown, in order.
        let places: [Int]
        /// Their widths, in the same order.
        let widths: [Int]
        /// Whether the last column's sentences stand below their rows.
        let hasSentencesBelow: Bool
    }

    /// The spaces between two columns.
    static let gap = 2
    /// The spaces before a sentence that stands below its row.
    static let indent = 4

    /// The layout for a window of some width; nil for no limit.
    func layout(width: Int?) -> Layout {
        let natural = columns.indices.map { place in
            (rows + [total].compactMap(\.self)).map { $0[place].text.count }
                .reduce(columns[place].title.count, max)
        }
        var places = Array(columns.indices)
        guard let width, Self.sum(places.map { natural[$0] }) > width else {
            return Layout(
                places: places, widths: places.map { natural[$0] }, hasSentencesBelow: false)
        }
        // Beside the others, a sentence needs some room. Below them it needs none, so nothing is left out
        // for it.
        let isBelow =
            columns.last?.form == .sentence
            && Self.sum(places.map { least(natural, $0) }) > width
        if isBelow { places.removeLast() }
        places = leaving(out: places, natural, fitting: width)
        return Layout(
            places: places, widths: shrunk(places, natural, to: width), hasSentencesBelow: isBelow)
    }

    /// The width of a row.
    private static func sum(_ widths: [Int]) -> Int {
        widths.reduce(0, +) + gap * max(0, widths.count - 1)
    }

    /// The width below which another column goes rather than this one shrinks.
    private func least(_ natural: [Int], _ place: Int) -> Int {
        switch columns[place].form {
        case .word, .number: natural[place]
        case .name, .text, .sentence: min(natural[place], columns[place].widthMin)
        }
    }

    /// Leaves out columns, the one that is missed least first, until the others fit a width or none of
    /// them may be left out.
    private func leaving(out places: [Int], _ natural: [Int], fitting width: Int) -> [Int] {
        var places = places
        while Self.sum(places.map { least(natural, $0) }) > width,
            let spare = places.filter({ columns[$0].rank != nil })
                .min(by: { (columns[$0].rank ?? 0) < (columns[$1].rank ?? 0) })
        {
            places.removeAll { $0 == spare }
        }
        return places
    }

    /// The widths of columns in a window: those that can be cut share what the others leave.
    ///
    /// The widest gives first, so that short names stay whole. If that is not enough, names become
    /// shorter than their least width.
    private func shrunk(_ places: [Int], _ natural: [Int], to width: Int) -> [Int] {
        var widths = places.map { natural[$0] }
        for least in [
            places.map { self.least(natural, $0) }, places.map { leastOfAll(natural, $0) },
        ] {
            while Self.sum(widths) > width {
                let spare = widths.indices.filter { widths[$0] > least[$0] }
                    .max { widths[$0] < widths[$1] }
                guard let spare else { break }
                widths[spare] -= 1
            }
        }
        return widths
    }

    /// The width of a column where nothing else helps: a letter and the sign that more is missing.
    private func leastOfAll(_ natural: [Int], _ place: Int) -> Int {
        switch columns[place].form {
        case .word, .number: natural[place]
        case .name, .text, .sentence: min(natural[place], 2)
        }
    }
}
