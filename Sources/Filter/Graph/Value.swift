import BPF

/// A number that a program computes from a packet.
///
/// Values are held in a table and named by their indexes, so that equal values are one.
struct Value: Hashable {
    let number: Int
}

/// The ways to get a value.
enum ValueSource: Hashable {
    case constant(UInt32)
    /// The packet's length.
    case length
    /// Bytes of the packet, from an offset that is added to another value if there is one.
    case packet(Width, offset: UInt32, past: Value?)
    /// The length of the IPv4 header at an offset: four times the low half of its first byte.
    case headerLength(offset: UInt32)
    /// A number that the program has stored before.
    case variable(Variable)
    case negated(Value)
    case combined(Arithmetic, Value, Value)
}

/// How many bytes are loaded.
enum Width: UInt32, Hashable {
    case byte = 1
    case half = 2
    case word = 4
}

/// A number that a program keeps while it runs.
struct Variable: Hashable {
    let number: Int
}

/// An operation on two numbers of 32 bits, without signs.
enum Arithmetic: Hashable, CaseIterable {
    case add, subtract, multiply, divide, modulo, and, or, xor, shiftLeft, shiftRight

    var opcode: Opcode {
        switch self {
        case .add: .add
        case .subtract: .subtract
        case .multiply: .multiply
        case .divide: .divide
        case .modulo: .modulo
        case .and: .and
        case .or: .or
        case .xor: .xor
        case .shiftLeft: .shiftLeft
        case .shiftRight: .shiftRight
        }
    }

    /// Whether both sides can change places.
    var isCommutative: Bool {
        switch self {
        case .add, .multiply, .and, .or, .xor: true
        case .subtract, .divide, .modulo, .shiftLeft, .shiftRight: false
        }
    }

    /// The result for two constants; nil for a division by zero.
    func result(_ left: UInt32, _ right: UInt32) -> UInt32? {
        switch self {
        case .add: left &+ right
        case .subtract: left &- right
        case .multiply: left &* right
        case .divide: right == 0 ? nil : left / right
        case .modulo: right == 0 ? nil : left % right
        case .and: left & right
        case .or: left | right
        case .xor: left ^ right
        case .shiftLeft: left << right
        case .shiftRight: left >> right
        }
    }
}

/// The values of a program, each of them once.
struct ValueTable {
    private var sources: [ValueSource] = []
    private var values: [ValueSource: Value] = [:]

    /// How many values there are.
    var count: Int { sources.count }

    func source(of value: Value) -> ValueSource { sources[value.number] }

    /// The constant that a value is; nil if it depends on the packet.
    func constant(_ value: Value) -> UInt32? {
        if case .constant(let number) = source(of: value) { number } else { nil }
    }

    mutating func value(_ source: ValueSource) -> Value {
        if let known = values[source] { return known }
        let value = Value(number: sources.count)
        sources.append(source)
        values[source] = value
        return value
    }

    mutating func constant(_ number: UInt32) -> Value { value(.constant(number)) }

    /// The bytes of the packet at an offset that another value is added to.
    ///
    /// Sums wrap, as the kernel's do: `ip[0 - 5]` is the byte five before the header.
    mutating func packet(_ width: Width, _ offset: UInt32, past index: Value?) -> Value {
        guard let index else {
            return value(.packet(width, offset: min(offset, Self.offsetMax), past: nil))
        }
        switch source(of: index) {
        case .constant(let number): return packet(width, offset &+ number, past: nil)
        case .combined(.add, let other, let addend):
            guard let number = constant(addend) else { break }
            return packet(width, offset &+ number, past: other)
        default: break
        }
        return value(.packet(width, offset: offset, past: index))
    }

    /// The offset from which a load fails: no packet is that long.
    ///
    /// Far larger ones would name the kernel's metadata instead (`SKF_AD_OFF`).
    private static let offsetMax: UInt32 = 0x7fff_ffff

    /// Two values combined, as far as that is known already.
    ///
    /// Where the result does not depend on one of them, nothing is loaded for that one: as libpcap has it.
    mutating func combined(_ operation: Arithmetic, _ left: Value, _ right: Value) -> Value {
        let numbers = (constant(left), constant(right))
        if let first = numbers.0, let second = numbers.1,
            let result = operation.result(first, second)
        {
            return constant(result)
        }
        if let result = known(operation, left, numbers.1) { return result }
        if numbers.0 == 0 {
            switch operation {
            case .add, .or, .xor: return right
            case .multiply, .divide, .modulo, .and, .shiftLeft, .shiftRight: return left
            case .subtract: break
            }
        }
        if operation.isCommutative, numbers.0 != nil {
            return value(.combined(operation, right, left))
        }
        return value(.combined(operation, left, right))
    }

    /// The result where the right side is a constant that settles it.
    private mutating func known(
        _ operation: Arithmetic, _ left: Value, _ right: UInt32?
    ) -> Value? {
        switch (operation, right) {
        case (.add, 0), (.subtract, 0), (.or, 0), (.xor, 0), (.shiftLeft, 0), (.shiftRight, 0):
            left
        case (.multiply, 1), (.divide, 1), (.and, UInt32.max): left
        case (.multiply, 0), (.and, 0): constant(0)
        default: nil
        }
    }

    mutating func negated(_ operand: Value) -> Value {
        if let number = constant(operand) { return constant(0 &- number) }
        return value(.negated(operand))
    }
}
