/// A simplifier of a filter's tests: what is known already is not asked again.
///
/// It repeats two steps until nothing changes:
///
/// 1. A way that leads to a test whose outcome is known on that way goes past it.
/// 2. A test that goes on at the same place either way is left out.
///
/// Then tests of one number follow each other, where any of several may be true, and equal tests that go on
/// at the same places become one. Libpcap's optimizer has the same rules in this order. A load that fails
/// drops the packet, so which loads are left decides about short packets.
struct Simplifier {
    /// A test with its successors.
    struct Node {
        let stores: [Graph.Store]
        var test: Test?
        /// The number of the test, which is the same for equal ones.
        var testNumber: Int
        var yes: Successor
        var no: Successor

        /// Whether the node does nothing but to go on.
        var isIdle: Bool { stores.isEmpty && (test == nil || yes == no) }
        /// Whether it asks something and does nothing else.
        var isPlain: Bool { stores.isEmpty && test != nil }
    }

    var nodes: [Node]
    var entry: Successor
    let values: ValueTable
    /// The tests, each once.
    private let tests: [Test]
    /// Whether tests without consequence are kept, which read a packet that may be too short.
    ///
    /// Libpcap does not optimize programs that keep numbers.
    private let keepsIdleTests: Bool

    /// The most rounds; more than a few are never needed for what people write.
    private static let roundCountMax = 12

    /// Takes a graph that is closed.
    init(_ graph: inout Graph, entry: Int) {
        let nodes = graph.nodes
        var (tests, numbers) = ([Test](), [Test: Int]())
        self.nodes = nodes.map { node in
            var number = 0
            if let test = node.test {
                number = numbers[test] ?? tests.count
                if number == tests.count {
                    tests.append(test)
                    numbers[test] = number
                }
            }
            return Node(
                stores: node.stores, test: node.test, testNumber: number,
                yes: graph.successor(node.yes),
                no: node.test == nil ? graph.successor(node.yes) : graph.successor(node.no))
        }
        self.entry = .node(entry)
        values = graph.values
        self.tests = tests
        keepsIdleTests = graph.variableCount > 0
    }

    mutating func run() {
        settleConstants()
        for _ in 0..<Self.roundCountMax {
            skipIdle()
            guard passKnown() else { break }
        }
        skipIdle()
        gatherLists()
        merge()
        skipIdleEntry()
    }

    /// The nodes that can be reached, each before all that follow it.
    var order: [Int] {
        guard case .node(let first) = entry else { return [] }
        var (order, isSeen) = ([Int](), [Bool](repeating: false, count: nodes.count))
        var stack: [(node: Int, step: Int)] = [(first, 0)]
        isSeen[first] = true
        while let (node, step) = stack.last {
            guard step < 2 else {
                order.append(node)
                stack.removeLast()
                continue
            }
            stack[stack.count - 1].step += 1
            // The way of "no" first, so that "yes" comes next in the reversed order.
            let next = step == 0 ? nodes[node].no : nodes[node].yes
            if case .node(let next) = next, !isSeen[next] {
                isSeen[next] = true
                stack.append((next, 0))
            }
        }
        return order.reversed()
    }
}

/// The steps.
extension Simplifier {
    /// Decides tests of constants.
    private mutating func settleConstants() {
        for index in nodes.indices {
            guard let test = nodes[index].test, let left = values.constant(test.left),
                let right = values.constant(test.right)
            else { continue }
            if test.comparison.isTrue(left, right) {
                nodes[index].no = nodes[index].yes
            } else {
                nodes[index].yes = nodes[index].no
            }
        }
    }

    private func isIdle(_ node: Node) -> Bool {
        guard node.isIdle else { return false }
        return !keepsIdleTests || isConstant(node)
    }

    /// Leaves out nodes that only go on.
    private mutating func skipIdle() {
        // From the end, so that a node's successors are settled when it is reached.
        for index in order.reversed() {
            nodes[index].yes = target(nodes[index].yes)
            nodes[index].no = target(nodes[index].no)
        }
    }

    /// Leaves out tests without consequence at the beginning, if nothing is tested then.
    ///
    /// Otherwise their loads stay, which drop short packets: as libpcap has it.
    private mutating func skipIdleEntry() {
        var successor = entry
        while case .node(let index) = successor, isIdle(nodes[index]) {
            successor = nodes[index].yes
            if case .node = successor, nodes[index].isPlain, !isConstant(nodes[index]) { continue }
            entry = successor
        }
    }

    private func isConstant(_ node: Node) -> Bool {
        node.test.map { test in
            values.constant(test.left) != nil && values.constant(test.right) != nil
        } ?? true
    }

    private func target(_ successor: Successor) -> Successor {
        guard case .node(let index) = successor, isIdle(nodes[index]) else { return successor }
        return nodes[index].yes
    }

    private struct Shape: Hashable {
        let testNumber: Int
        let yes: Successor
        let no: Successor
    }

    /// Makes one of equal nodes, from the end on.
    private mutating func merge() {
        merge { node, _ -> Shape? in
            node.isPlain
                ? Shape(testNumber: node.testNumber, yes: node.yes, no: node.no) : nil
        }
    }

    private struct BareShape: Hashable {
        let comparison: Comparison
        let number: UInt32
        let yes: Successor
        let no: Successor
    }

    /// Makes one of comparisons with equal numbers, whatever they compare.
    ///
    /// - Parameter bareTests: The nodes that only compare.
    /// - Returns: Whether there were any.
    mutating func merge(_ bareTests: Set<Int>) -> Bool {
        let values = values
        return merge { node, index -> BareShape? in
            guard bareTests.contains(index), let test = node.test,
                let number = values.constant(test.right)
            else { return nil }
            return BareShape(
                comparison: test.comparison, number: number, yes: node.yes, no: node.no)
        }
    }

    /// Makes one of nodes that have the same shape, from the end on.
    @discardableResult
    private mutating func merge<Key: Hashable>(_ key: (Node, Int) -> Key?) -> Bool {
        var (known, replacements) = ([Key: Int](), [Int: Int]())
        func replaced(_ successor: Successor) -> Successor {
            guard case .node(let index) = successor, let other = replacements[index] else {
                return successor
            }
            return .node(other)
        }
        for index in order.reversed() {
            nodes[index].yes = replaced(nodes[index].yes)
            nodes[index].no = replaced(nodes[index].no)
            guard let key = key(nodes[index], index) else { continue }
            if let other = known[key] {
                replacements[index] = other
            } else {
                known[key] = index
            }
        }
        entry = replaced(entry)
        return !replacements.isEmpty
    }

    /// Sends ways past tests whose outcome is known on them.
    ///
    /// - Returns: Whether any has changed.
    private mutating func passKnown() -> Bool {
        let tree = DominatorTree(nodes, order)
        var facts = Facts(tests, values)
        let choices = choices()
        var hasChanged = false
        guard let root = order.first else { return false }
        var stack: [(node: Int, isLeaving: Bool)] = [(root, false)]
        while let (index, isLeaving) = stack.popLast() {
            if isLeaving {
                // What follows has been dealt with, so that no way is gone for each test on it.
                pass(index, true, &facts, &hasChanged)
                pass(index, false, &facts, &hasChanged)
                facts.forget()
                continue
            }
            facts.begin()
            if let (other, outcome) = tree.onlyWay(to: index), nodes[other].test != nil {
                facts.learn(nodes[other].testNumber, outcome)
            }
            if let choice = choices[index] { facts.learn(choice) }
            stack.append((index, true))
            // The last of them comes first.
            for child in tree.children[index] { stack.append((child, false)) }
        }
        return hasChanged
    }

    private mutating func pass(
        _ index: Int, _ outcome: Bool, _ facts: inout Facts, _ hasChanged: inout Bool
    ) {
        guard nodes[index].test != nil else { return }
        let old = outcome ? nodes[index].yes : nodes[index].no
        facts.begin()
        facts.learn(nodes[index].testNumber, outcome)
        var successor = old
        while case .node(let next) = successor, nodes[next].isPlain {
            if let isTrue = facts.outcome(nodes[next].testNumber) {
                successor = isTrue ? nodes[next].yes : nodes[next].no
            } else if let common = common(next, facts) {
                successor = common
            } else {
                break
            }
        }
        facts.forget()
        guard successor != old else { return }
        hasChanged = true
        if outcome { nodes[index].yes = successor } else { nodes[index].no = successor }
    }
}
