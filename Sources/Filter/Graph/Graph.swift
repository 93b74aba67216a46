/// A filter as tests, each of which goes on at one of two others, or ends with *keep* or *drop*.
///
/// The parser builds it from left to right. Nothing here recurses, so no text is too long for the stack.
struct Graph {
    var values = ValueTable()
    private(set) var nodes: [Node] = []
    private var targets: [LabelTarget] = []
    private(set) var variableCount = 0

    /// The most tests of a filter.
    ///
    /// A program that is made of more would not be shorter than the longest there may be.
    static let nodeCountMax = 16_384
    /// The most numbers that a program can keep: the rest of scratch memory is for arithmetic.
    static let variableCountMax = 12

    /// A place in the graph that is named before it is known.
    struct Label: Hashable {
        fileprivate let number: Int
    }

    private enum LabelTarget {
        case open
        case node(Int)
        case label(Label)
        case keep
        case drop
    }

    /// A test, with what is stored before it.
    struct Node {
        var stores: [Store] = []
        /// Nil goes on at `yes` always.
        var test: Test?
        var yes: Label
        var no: Label
    }

    /// A number that is kept for later.
    struct Store {
        let variable: Variable
        let value: Value
    }

    /// Part of the graph: where it begins, and where it goes on.
    struct Part {
        var entry: Int
        var yes: Label
        var no: Label
    }

    /// Whether there are more tests than a program can have.
    var isTooLong: Bool { nodes.count > Self.nodeCountMax }

    private mutating func makeLabel() -> Label {
        targets.append(.open)
        return Label(number: targets.count - 1)
    }

    private mutating func set(_ label: Label, _ target: LabelTarget) {
        targets[label.number] = target
    }

    /// A new number to keep; nil if there are too many.
    mutating func makeVariable() -> Variable? {
        guard variableCount < Self.variableCountMax else { return nil }
        variableCount += 1
        return Variable(number: variableCount - 1)
    }
}

/// Parts, and how they are combined.
extension Graph {
    mutating func part(_ test: Test?, _ stores: [Store] = []) -> Part {
        let part = Part(entry: nodes.count, yes: makeLabel(), no: makeLabel())
        nodes.append(Node(stores: stores, test: test, yes: part.yes, no: part.no))
        return part
    }

    /// A part that lets everything pass, or nothing.
    mutating func part(always passes: Bool) -> Part {
        let part = part(nil)
        return passes ? part : not(part)
    }

    /// A part that passes if a comparison is true.
    mutating func test(
        _ left: Value, _ comparison: Comparison, _ right: Value, _ note: Note
    ) -> Part {
        // Bits that are all zero are one instruction, not two.
        if comparison == .equal, values.constant(right) == 0,
            case .combined(.and, let operand, let bits) = values.source(of: left),
            values.constant(bits) != nil
        {
            return not(part(Test(operand, .anyBit, bits, note)))
        }
        return part(Test(left, comparison, right, note))
    }

    func not(_ part: Part) -> Part { Part(entry: part.entry, yes: part.no, no: part.yes) }

    mutating func and(_ first: Part, _ second: Part) -> Part {
        set(first.yes, .node(second.entry))
        set(first.no, .label(second.no))
        return Part(entry: first.entry, yes: second.yes, no: second.no)
    }

    mutating func or(_ first: Part, _ second: Part) -> Part {
        set(first.no, .node(second.entry))
        set(first.yes, .label(second.yes))
        return Part(entry: first.entry, yes: second.yes, no: second.no)
    }

    mutating func all(_ parts: [Part]) -> Part {
        guard let first = parts.first else { return part(always: true) }
        return parts.dropFirst().reduce(first) { and($0, $1) }
    }

    mutating func any(_ parts: [Part]) -> Part {
        guard let first = parts.first else { return part(always: false) }
        return parts.dropFirst().reduce(first) { or($0, $1) }
    }
}

/// Where a test goes on.
enum Successor: Hashable {
    case node(Int)
    case keep
    case drop
}

extension Graph {
    /// Ends a part with *keep* and *drop*.
    mutating func close(_ part: Part) {
        set(part.yes, .keep)
        set(part.no, .drop)
    }

    /// Where a label leads to, when the graph is closed.
    mutating func successor(_ label: Label) -> Successor {
        var (last, path) = (label, [Label]())
        while case .label(let next) = targets[last.number] {
            path.append(last)
            last = next
        }
        for label in path { targets[label.number] = .label(last) }
        return switch targets[last.number] {
        case .node(let node): .node(node)
        case .keep: .keep
        case .drop, .open, .label: .drop
        }
    }
}

/// A comparison of two numbers.
struct Test: Hashable {
    let left: Value
    let comparison: Comparison
    let right: Value
    /// The question in words, for a program's listing.
    let note: Note

    init(_ left: Value, _ comparison: Comparison, _ right: Value, _ note: Note) {
        (self.left, self.comparison, self.right, self.note) = (left, comparison, right, note)
    }

    static func == (left: Self, right: Self) -> Bool {
        (left.left, left.comparison, left.right) == (right.left, right.comparison, right.right)
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(left)
        hasher.combine(comparison)
        hasher.combine(right)
    }
}

/// The comparisons that a program can make.
enum Comparison: Hashable {
    case equal, greater, atLeast
    /// Whether both numbers have a bit in common.
    case anyBit

    func isTrue(_ left: UInt32, _ right: UInt32) -> Bool {
        switch self {
        case .equal: left == right
        case .greater: left > right
        case .atLeast: left >= right
        case .anyBit: left & right != 0
        }
    }
}
