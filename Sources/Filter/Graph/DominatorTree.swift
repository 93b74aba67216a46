/// The tests through which every way to another one leads.
///
/// The last such test of each is its parent. Jumps to far ancestors, as many as a skew-binary number has
/// digits, keep the search for common ancestors short (Myers 1983).
struct DominatorTree {
    /// The tests of which each one is the parent.
    private(set) var children: [[Int]]
    private var onlyWays: [Way?]
    private var parents: [Int]
    private var depths: [Int]
    private var jumps: [Int]

    private struct Way {
        let node: Int
        let outcome: Bool
        var isOnly = true
    }

    /// Finds the parent of each test.
    ///
    /// - Parameters:
    ///   - nodes: The tests.
    ///   - order: Those that can be reached, each before all that follow it.
    init(_ nodes: [Simplifier.Node], _ order: [Int]) {
        children = Array(repeating: [], count: nodes.count)
        onlyWays = Array(repeating: nil, count: nodes.count)
        parents = Array(repeating: -1, count: nodes.count)
        depths = Array(repeating: 0, count: nodes.count)
        jumps = Array(nodes.indices)
        for index in order {
            settle(index)
            for (successor, outcome) in [(nodes[index].yes, true), (nodes[index].no, false)] {
                guard case .node(let next) = successor else { continue }
                if onlyWays[next] == nil {
                    (onlyWays[next], parents[next]) = (Way(node: index, outcome: outcome), index)
                } else {
                    onlyWays[next]?.isOnly = false
                    parents[next] = common(parents[next], index)
                }
            }
        }
    }

    /// Completes a test whose parent is known for certain, as all ways to it have been seen.
    private mutating func settle(_ index: Int) {
        let parent = parents[index]
        guard parent >= 0 else { return }
        children[parent].append(index)
        depths[index] = depths[parent] + 1
        let (jump, far) = (jumps[parent], jumps[jumps[parent]])
        jumps[index] =
            depths[parent] - depths[jump] == depths[jump] - depths[far] ? far : parent
    }

    /// The one test that leads to another one, and with which outcome; nil if there are several.
    func onlyWay(to index: Int) -> (node: Int, outcome: Bool)? {
        guard let way = onlyWays[index], way.isOnly else { return nil }
        return (way.node, way.outcome)
    }

    /// The last test through which all ways to two others lead.
    private func common(_ first: Int, _ second: Int) -> Int {
        var (deep, other) = depths[first] >= depths[second] ? (first, second) : (second, first)
        while depths[deep] > depths[other] {
            deep = depths[jumps[deep]] >= depths[other] ? jumps[deep] : parents[deep]
        }
        while deep != other {
            if jumps[deep] != jumps[other] {
                (deep, other) = (jumps[deep], jumps[other])
            } else {
                (deep, other) = (parents[deep], parents[other])
            }
        }
        return deep
    }
}
