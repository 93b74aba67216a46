/// How near words are to each other, for hints.
package enum Spelling {
    /// What a letter that is put in, left out or changed costs.
    private static let changeCost = 2
    /// What letters in another order cost: that is how words are mistyped most.
    private static let orderCost = 1
    /// The longest word that is compared: longer than any name of ours, and soon done.
    private static let lengthMax = 32

    /// The first of the words that are nearest to another one; nil if none is near.
    ///
    /// - Parameters:
    ///   - word: The word, as somebody wrote it.
    ///   - words: The words that it may be meant for, those that are used most before the others.
    /// - Returns: One of the words.
    package static func nearest(to word: String, among words: [String]) -> String? {
        let letters = Array(word.lowercased().utf8.prefix(lengthMax + 1))
        // A short word is near everything.
        guard (2...lengthMax).contains(letters.count) else { return nil }
        let costMax = letters.count < 3 ? 0 : letters.count < 5 ? changeCost : 2 * changeCost
        var best: (word: String, cost: Int)?
        for candidate in words {
            let cost = cost(letters, Array(candidate.utf8))
            if cost < best?.cost ?? costMax + 1 { best = (candidate, cost) }
        }
        return best?.word
    }

    /// What it costs to make a word another one.
    private static func cost(_ first: [UInt8], _ second: [UInt8]) -> Int {
        if first == second { return 0 }
        if first.count == second.count, first.sorted() == second.sorted() { return orderCost }
        var before = [Int](repeating: 0, count: second.count + 1)
        var row = (0...second.count).map { $0 * changeCost }
        for (index, letter) in first.enumerated() {
            var next = [(index + 1) * changeCost]
            for (column, other) in second.enumerated() {
                var cost = min(
                    row[column] + (letter == other ? 0 : changeCost), row[column + 1] + changeCost)
                cost = min(cost, next[column] + changeCost)
                if index > 0, column > 0, letter == second[column - 1], other == first[index - 1] {
                    cost = min(cost, before[column - 1] + orderCost)
                }
                next.append(cost)
            }
            (before, row) = (row, next)
        }
        return row[second.count]
    }
}
