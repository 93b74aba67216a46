/// Lists, of which any may be true: hosts, ports, protocols.
extension Simplifier {
    /// What is known where several ways meet: that each of them has found a value to be some number.
    func choices() -> [Choice?] {
        /// What the ways that have been seen say of a node.
        enum Arrival {
            case none, unknown
            case choice(Choice)
        }
        var arrivals = [Arrival](repeating: .none, count: nodes.count)
        for index in order {
            let node = nodes[index]
            for (successor, isTrue) in [(node.yes, true), (node.no, false)] {
                guard case .node(let next) = successor else { continue }
                guard isTrue, let test = node.test, test.comparison == .equal,
                    let number = values.constant(test.right)
                else {
                    arrivals[next] = .unknown
                    continue
                }
                switch arrivals[next] {
                case .none: arrivals[next] = .choice(Choice(value: test.left, numbers: [number]))
                case .choice(var choice)
                where choice.value == test.left && choice.numbers.count < Choice.countMax:
                    choice.numbers.append(number)
                    arrivals[next] = .choice(choice)
                case .choice, .unknown: arrivals[next] = .unknown
                }
            }
        }
        return arrivals.map { arrival in
            if case .choice(let choice) = arrival { choice } else { nil }
        }
    }

    /// The most tests of a list that are followed for each number of a choice.
    private static let followedCountMax = 16

    /// Where each number of a choice leads from a test, if it is the same place.
    func common(_ start: Int, _ facts: Facts) -> Successor? {
        guard let value = nodes[start].test?.left, let numbers = facts.choice(value) else {
            return nil
        }
        var common: Successor?
        for number in numbers {
            guard let end = end(of: value, number, from: start), common == nil || common == end
            else {
                return nil
            }
            common = end
        }
        return common
    }

    /// Where tests of a value end, if it is some number.
    private func end(of value: Value, _ number: UInt32, from start: Int) -> Successor? {
        var successor = Successor.node(start)
        for _ in 0..<Self.followedCountMax {
            guard case .node(let index) = successor, nodes[index].isPlain,
                let test = nodes[index].test, test.left == value,
                let other = values.constant(test.right)
            else { return successor }
            successor = test.comparison.isTrue(number, other) ? nodes[index].yes : nodes[index].no
        }
        return nil
    }

    /// Has tests of one number follow each other, so that it is loaded once.
    ///
    /// A test may move to an earlier place of its list only if its number has been loaded there.
    mutating func gatherLists() {
        var wayCounts = [Int](repeating: 0, count: nodes.count)
        let order = order
        for index in order {
            for case .node(let next) in [nodes[index].yes, nodes[index].no] { wayCounts[next] += 1 }
        }
        var isGathered = [Bool](repeating: false, count: nodes.count)
        for first in order where isListed(first) && !isGathered[first] {
            var list = [first]
            while case .node(let next) = nodes[list[list.count - 1]].no, wayCounts[next] == 1,
                isListed(next), nodes[next].yes == nodes[first].yes
            {
                list.append(next)
            }
            for index in list { isGathered[index] = true }
            if list.count > 2 { gather(list) }
        }
    }

    private func isListed(_ index: Int) -> Bool {
        guard nodes[index].isPlain, let test = nodes[index].test else { return false }
        return values.constant(test.right) != nil
    }

    private mutating func gather(_ list: [Int]) {
        var groups: [[Node]] = []
        var places: [Value: Int] = [:]
        for index in list {
            guard let value = nodes[index].test?.left else { continue }
            if let place = places[value] {
                groups[place].append(nodes[index])
            } else {
                places[value] = groups.count
                groups.append([nodes[index]])
            }
        }
        for (index, node) in zip(list, groups.joined()) {
            (nodes[index].test, nodes[index].testNumber) = (node.test, node.testNumber)
        }
    }
}
