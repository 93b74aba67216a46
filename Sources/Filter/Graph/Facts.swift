/// The few numbers of which a value is known to be one.
struct Choice {
    let value: Value
    var numbers: [UInt32]

    /// The most numbers: those of the protocols that have ports are three.
    static let countMax = 8
}

/// What is known of a packet on the way to a test.
///
/// Facts are learned and forgotten again in the order of a stack.
struct Facts {
    /// The tests, each once.
    private let tests: [Test]
    private let values: ValueTable
    /// What is known of each test, by its number.
    private var outcomes: [Bool?]
    /// What number each value is known to be.
    private var numbers: [UInt32?]
    /// The few numbers of which each value is known to be one.
    private var choices: [Value: [UInt32]] = [:]
    private var changes: [Change] = []
    /// How many changes there were when each part of the way began.
    private var marks: [Int] = []

    private enum Change {
        case outcome(test: Int)
        case number(Value)
        case choice(Value)
    }

    init(_ tests: [Test], _ values: ValueTable) {
        (self.tests, self.values) = (tests, values)
        outcomes = Array(repeating: nil, count: tests.count)
        numbers = Array(repeating: nil, count: values.count)
    }

    /// Begins a part of the way.
    mutating func begin() { marks.append(changes.count) }

    /// Forgets what was learned since the last `begin`.
    mutating func forget() {
        guard let mark = marks.popLast() else { return }
        while changes.count > mark {
            switch changes.removeLast() {
            case .outcome(let number): outcomes[number] = nil
            case .number(let value): numbers[value.number] = nil
            case .choice(let value): choices[value] = nil
            }
        }
    }

    /// Learns how a test has come out, by its number.
    mutating func learn(_ number: Int, _ outcome: Bool) {
        if outcomes[number] == nil {
            outcomes[number] = outcome
            changes.append(.outcome(test: number))
        }
        let test = tests[number]
        guard outcome, test.comparison == .equal, let constant = values.constant(test.right),
            numbers[test.left.number] == nil
        else { return }
        numbers[test.left.number] = constant
        changes.append(.number(test.left))
    }

    /// Learns that a value is one of a few numbers.
    mutating func learn(_ choice: Choice) {
        guard choices[choice.value] == nil else { return }
        choices[choice.value] = choice.numbers
        changes.append(.choice(choice.value))
    }

    /// The few numbers of which a value is one; nil if that is not known.
    func choice(_ value: Value) -> [UInt32]? {
        numbers[value.number] == nil ? choices[value] : nil
    }

    /// Whether a test is true, by its number; nil if that is not known.
    func outcome(_ number: Int) -> Bool? {
        if let outcome = outcomes[number] { return outcome }
        // A number that equals another one does not equal this one. More could be known, as that it is
        // greater; libpcap does not use that either.
        let test = tests[number]
        guard test.comparison == .equal, let known = numbers[test.left.number],
            let other = values.constant(test.right)
        else { return nil }
        return known == other
    }
}
