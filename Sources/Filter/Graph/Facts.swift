/// What is known of a packet on the way to a test.
///
/// Facts are learned and forgotten again in the order of a stack.
struct Facts {
    private let values: ValueTable
    private var outcomes: [Test: Bool] = [:]
    private var constants: [Value: UInt32] = [:]
    private var changes: [Change] = []
    /// How many changes there were when each part of the way began.
    private var marks: [Int] = []

    private enum Change {
        case outcome(Test)
        case constant(Value)
    }

    init(_ values: ValueTable) { self.values = values }

    /// Begins a part of the way.
    mutating func begin() { marks.append(changes.count) }

    /// Forgets what was learned since the last `begin`.
    mutating func forget() {
        guard let mark = marks.popLast() else { return }
        while changes.count > mark {
            switch changes.removeLast() {
            case .outcome(let test): outcomes[test] = nil
            case .constant(let value): constants[value] = nil
            }
        }
    }

    mutating func learn(_ test: Test, _ outcome: Bool) {
        if outcomes[test] == nil {
            outcomes[test] = outcome
            changes.append(.outcome(test))
        }
        guard outcome, test.comparison == .equal, let number = values.constant(test.right),
            constants[test.left] == nil
        else { return }
        constants[test.left] = number
        changes.append(.constant(test.left))
    }

    /// Whether a test is true; nil if that is not known.
    func outcome(_ test: Test) -> Bool? {
        if let outcome = outcomes[test] { return outcome }
        // A number that equals another one does not equal this one. More could be known, as that it is
        // greater; libpcap does not use that either.
        guard test.comparison == .equal, let number = constants[test.left],
            let other = values.constant(test.right)
        else { return nil }
        return number == other
    }
}

/// The tests through which every way to another one leads.
struct DominatorTree {
    /// The tests that each one is the last such test of.
    private(set) var children: [[Int]]
    private var onlyWays: [Way?]

    private struct Way {
        let node: Int
        let outcome: Bool
        var isOnly = true
    }

    /// - Parameters:
    ///   - nodes: The tests.
    ///   - order: Those that can be reached, each before all that follow it.
    init(_ nodes: [Simplifier.Node], _ order: [Int]) {
        children = Array(repeating: [], count: nodes.count)
        onlyWays = Array(repeating: nil, count: nodes.count)
        var parents = [Int](repeating: -1, count: nodes.count)
        var depths = [Int](repeating: 0, count: nodes.count)
        for index in order {
            if parents[index] >= 0 {
                depths[index] = depths[parents[index]] + 1
                children[parents[index]].append(index)
            }
            for (successor, outcome) in [(nodes[index].yes, true), (nodes[index].no, false)] {
                guard case .node(let next) = successor else { continue }
                if onlyWays[next] == nil {
                    (onlyWays[next], parents[next]) = (Way(node: index, outcome: outcome), index)
                } else {
                    onlyWays[next]?.isOnly = false
                    parents[next] = Self.common(
                        parents[next], index, parents, depths, depthOfSecond: depths[index])
                }
            }
        }
    }

    /// The one test that leads to another one, and with which outcome; nil if there are several.
    func onlyWay(to index: Int) -> (node: Int, outcome: Bool)? {
        guard let way = onlyWays[index], way.isOnly else { return nil }
        return (way.node, way.outcome)
    }

    private static func common(
        _ first: Int, _ second: Int, _ parents: [Int], _ depths: [Int], depthOfSecond: Int
    ) -> Int {
        var (first, second) = (first, second)
        while first != second {
            if depths[first] >= depths[second] {
                first = parents[first]
            } else {
                second = parents[second]
            }
        }
        return first
    }
}
