/// How near words are to each other, for hints.
enum Spelling {
    /// The most changes of a letter by which a word is near another one.
    private static let distanceMax = 2

    /// The first of the words that are nearest to another one; nil if none is near.
    static func nearest(to word: String, among words: [String]) -> String? {
        let letters = Array(word.utf8)
        // A short word is near everything.
        guard (3...16).contains(letters.count) else { return nil }
        var best: (word: String, distance: Int)?
        for candidate in words {
            let distance = distance(letters, Array(candidate.utf8))
            if distance < best?.distance ?? min(distanceMax, letters.count / 2) + 1 {
                best = (candidate, distance)
            }
        }
        return best?.word
    }

    /// How many letters have to be put in, left out, changed, or exchanged with the next one.
    private static func distance(_ first: [UInt8], _ second: [UInt8]) -> Int {
        var before = [Int](repeating: 0, count: second.count + 1)
        var row = Array(0...second.count)
        for (index, letter) in first.enumerated() {
            var next = [index + 1]
            for (column, other) in second.enumerated() {
                var cost = min(row[column] + (letter == other ? 0 : 1), row[column + 1] + 1)
                cost = min(cost, next[column] + 1)
                if index > 0, column > 0, letter == second[column - 1], other == first[index - 1] {
                    cost = min(cost, before[column - 1] + 1)
                }
                next.append(cost)
            }
            (before, row) = (row, next)
        }
        return row[second.count]
    }
}
