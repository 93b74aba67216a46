import BPF

/// A writer of a program from a filter's tests.
///
/// What a register holds already is not loaded again.
struct ProgramWriter {
    /// Too many numbers are needed at a time.
    struct OutOfScratch: Error {}

    /// What the registers hold.
    private struct Registers: Equatable {
        var accumulator: Value?
        var index: Value?
    }

    private let values: ValueTable
    private var code = Assembler()
    private var registers = Registers()
    /// What registers hold on every way to a test that has been written.
    private var arrivals: [Successor: Registers] = [:]
    private var labels: [Successor: Assembler.Label] = [:]
    /// The tests that only compare, as their number has been loaded on every way to them.
    private var bareTests: Set<Int> = []
    /// Whether it is known which tests only compare.
    private let isRewriting: Bool
    /// The next free word of scratch memory, behind those of variables.
    private var scratch: UInt32
    private let scratchCount: UInt32 = 16

    /// Writes a program.
    ///
    /// - Parameters:
    ///   - simplifier: The tests.
    ///   - graph: Has the values.
    ///   - keptByteCount: What the program returns for a packet that passes.
    /// - Returns: The program.
    /// - Throws: If an expression needs more numbers at a time than scratch memory holds.
    static func program(
        _ simplifier: Simplifier, _ graph: Graph, keeping keptByteCount: UInt32
    ) throws(OutOfScratch) -> Program {
        var writer = Self(graph)
        let program = try writer.write(simplifier, graph.variableCount, keptByteCount)
        // A comparison that has its number in the accumulator already may serve several numbers.
        var shorter = simplifier
        guard shorter.merge(writer.bareTests) else { return program }
        var rewriter = Self(graph, bareTests: writer.bareTests)
        return try rewriter.write(shorter, graph.variableCount, keptByteCount)
    }

    private init(_ graph: Graph, bareTests: Set<Int>? = nil) {
        values = graph.values
        self.bareTests = bareTests ?? []
        isRewriting = bareTests != nil
        scratch = UInt32(graph.variableCount)
    }

    private mutating func write(
        _ simplifier: Simplifier, _ variableCount: Int, _ keptByteCount: UInt32
    ) throws(OutOfScratch) -> Program {
        let order = simplifier.order
        writeVariables(variableCount)
        if order.isEmpty {
            code.ja(label(simplifier.entry))
        }
        for index in order {
            let node = simplifier.nodes[index]
            if let label = labels[.node(index)] { code.place(label) }
            registers = arrivals[.node(index)] ?? registers
            if !isRewriting, isBare(node) { bareTests.insert(index) }
            try write(node, isBare: bareTests.contains(index))
        }
        for (successor, byteCount, note) in [
            (Successor.keep, keptByteCount, "keep"), (.drop, 0, "drop"),
        ] {
            guard let label = labels[successor] else { continue }
            code.place(label)
            code.ret(byteCount, note)
        }
        return code.program()
    }

    /// Variables are zero at first: the kernel refuses to read what was never written.
    private mutating func writeVariables(_ count: Int) {
        guard count > 0 else { return }
        code.ld(.constant(0), "nothing is known yet")
        for number in 0..<count { code.st(UInt32(number), "nothing is known yet") }
    }

    private mutating func label(_ successor: Successor) -> Assembler.Label {
        if let label = labels[successor] { return label }
        let label = code.makeLabel()
        labels[successor] = label
        return label
    }

    private func isBare(_ node: Simplifier.Node) -> Bool {
        guard node.isPlain, let test = node.test, values.constant(test.right) != nil else {
            return false
        }
        return registers.accumulator == test.left
    }

    private mutating func write(
        _ node: Simplifier.Node, isBare: Bool
    ) throws(OutOfScratch) {
        for store in node.stores {
            try load(store.value, "")
            code.st(UInt32(store.variable.number), "kept for later")
        }
        guard let test = node.test else {
            arrive(at: node.yes)
            return code.ja(label(node.yes))
        }
        let right = values.constant(test.right)
        if right == nil {
            try load(test.left, test.right, false, test.note.words)
        } else if !isBare {
            try load(test.left, test.note.words)
        }
        let opcode = right == nil ? test.comparison.opcode.withX : test.comparison.opcode
        let (yes, no) = (label(node.yes), label(node.no))
        code.test(
            opcode, right ?? 0, then: yes, else: no,
            test.note.text(test.comparison, with: right))
        arrive(at: node.yes)
        arrive(at: node.no)
    }

    private mutating func arrive(at successor: Successor) {
        guard case .node = successor else { return }
        guard let others = arrivals[successor] else {
            arrivals[successor] = registers
            return
        }
        arrivals[successor] = Registers(
            accumulator: others.accumulator == registers.accumulator ? registers.accumulator : nil,
            index: others.index == registers.index ? registers.index : nil)
    }
}

/// Values in registers.
extension ProgramWriter {
    /// Has the accumulator hold a value.
    private mutating func load(_ value: Value, _ note: String) throws(OutOfScratch) {
        guard registers.accumulator != value else { return }
        switch values.source(of: value) {
        case .constant(let number): code.ld(.constant(number), note)
        case .length: code.ld(.length, "the packet's length")
        case .packet(let width, let offset, let index):
            if let index { try loadIndex(index, note) }
            code.emit(Instruction(width.opcode(isPastX: index != nil), offset), note)
        case .headerLength:
            try loadIndex(value, note)
            code.emit(Instruction(.copyFromX), note)
        case .variable(let variable): code.ld(.scratch(UInt32(variable.number)), note)
        case .negated(let operand):
            try load(operand, note)
            code.emit(Instruction(.negate), note)
        case .combined(let operation, let left, let right):
            if let number = values.constant(right) {
                try load(left, note)
                code.emit(Instruction(operation.opcode, number), note)
            } else {
                try load(left, right, operation.isCommutative, note)
                code.emit(Instruction(operation.opcode.withX), note)
            }
        }
        registers.accumulator = value
    }

    /// Has the accumulator hold a value and X another one, or the other way round if that may be.
    private mutating func load(
        _ left: Value, _ right: Value, _ mayExchange: Bool, _ note: String
    ) throws(OutOfScratch) {
        if isDirect(right) {
            try load(left, note)
            return try loadIndex(right, note)
        }
        if mayExchange, isDirect(left) {
            try load(right, note)
            return try loadIndex(left, note)
        }
        try load(right, note)
        guard scratch < scratchCount else { throw OutOfScratch() }
        let word = scratch
        code.st(word, "kept for a moment")
        scratch += 1
        defer { scratch -= 1 }
        try load(left, note)
        code.emit(Instruction(.loadScratchToX, word), note)
        registers.index = right
    }

    /// Whether X can be loaded with a value without the accumulator.
    private func isDirect(_ value: Value) -> Bool {
        switch values.source(of: value) {
        case .constant, .length, .headerLength, .variable: true
        case .packet, .negated, .combined: false
        }
    }

    private mutating func loadIndex(_ value: Value, _ note: String) throws(OutOfScratch) {
        guard registers.index != value else { return }
        switch values.source(of: value) {
        case .constant(let number): code.emit(Instruction(.loadConstantToX, number), note)
        case .length: code.emit(Instruction(.loadLengthToX), "the packet's length")
        case .headerLength(let offset):
            code.emit(Instruction(.loadHeaderLengthToX, offset), "the IPv4 header's length")
        case .variable(let variable):
            code.emit(Instruction(.loadScratchToX, UInt32(variable.number)), note)
        case .packet, .negated, .combined:
            try load(value, note)
            code.tax(note)
        }
        registers.index = value
    }
}

extension Width {
    fileprivate func opcode(isPastX: Bool) -> Opcode {
        switch self {
        case .byte: isPastX ? .loadBytePastX : .loadByte
        case .half: isPastX ? .loadHalfPastX : .loadHalf
        case .word: isPastX ? .loadWordPastX : .loadWord
        }
    }
}

extension Comparison {
    fileprivate var opcode: Opcode {
        switch self {
        case .equal: .jumpIfEqual
        case .greater: .jumpIfGreater
        case .atLeast: .jumpIfAtLeast
        case .anyBit: .jumpIfAny
        }
    }
}
