/// An instruction of classic BPF, laid out as `struct sock_filter`.
///
/// The machine has an accumulator A, an index X, sixteen words of scratch memory M and the packet
/// P. It jumps only forward, so every program ends (Documentation/networking/filter.rst).
package struct Instruction: BitwiseCopyable, Hashable, Sendable {
    package let opcode: Opcode
    package let ifTrue: UInt8
    package let ifFalse: UInt8
    package let operand: UInt32

    package init(_ opcode: Opcode, _ operand: UInt32 = 0, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0) {
        self.opcode = opcode
        self.ifTrue = ifTrue
        self.ifFalse = ifFalse
        self.operand = operand
    }
}

/// The operation of an instruction, on its operand k.
///
/// The numbers are sums of the flags in `<linux/bpf_common.h>`: class, then size and mode, or
/// operation and source.
package struct Opcode: BitwiseCopyable, Hashable, Sendable {
    package let rawValue: UInt16

    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let loadWord = Self(rawValue: 0x20)  // A = P[k:4]
    package static let loadHalf = Self(rawValue: 0x28)  // A = P[k:2]
    package static let loadByte = Self(rawValue: 0x30)  // A = P[k:1]
    package static let loadWordPastX = Self(rawValue: 0x40)  // A = P[X+k:4]
    package static let loadHalfPastX = Self(rawValue: 0x48)  // A = P[X+k:2]
    package static let loadBytePastX = Self(rawValue: 0x50)  // A = P[X+k:1]
    package static let loadLength = Self(rawValue: 0x80)  // A = length of the packet
    package static let loadConstant = Self(rawValue: 0x00)  // A = k
    package static let loadScratch = Self(rawValue: 0x60)  // A = M[k]

    package static let loadConstantToX = Self(rawValue: 0x01)  // X = k
    package static let loadScratchToX = Self(rawValue: 0x61)  // X = M[k]
    package static let loadLengthToX = Self(rawValue: 0x81)  // X = length of the packet
    package static let loadHeaderLengthToX = Self(rawValue: 0xb1)  // X = 4 * (P[k:1] & 15)

    package static let storeScratch = Self(rawValue: 0x02)  // M[k] = A
    package static let storeScratchFromX = Self(rawValue: 0x03)  // M[k] = X

    package static let add = Self(rawValue: 0x04)
    package static let subtract = Self(rawValue: 0x14)
    package static let multiply = Self(rawValue: 0x24)
    package static let divide = Self(rawValue: 0x34)
    package static let or = Self(rawValue: 0x44)
    package static let and = Self(rawValue: 0x54)
    package static let shiftLeft = Self(rawValue: 0x64)
    package static let shiftRight = Self(rawValue: 0x74)
    package static let negate = Self(rawValue: 0x84)
    package static let modulo = Self(rawValue: 0x94)
    package static let xor = Self(rawValue: 0xa4)

    package static let jump = Self(rawValue: 0x05)  // go k further
    package static let jumpIfEqual = Self(rawValue: 0x15)  // A == k
    package static let jumpIfGreater = Self(rawValue: 0x25)  // A > k
    package static let jumpIfAtLeast = Self(rawValue: 0x35)  // A >= k
    package static let jumpIfAny = Self(rawValue: 0x45)  // A & k != 0

    package static let keep = Self(rawValue: 0x06)  // stop, keep k bytes
    package static let keepA = Self(rawValue: 0x16)  // stop, keep A bytes

    package static let copyToX = Self(rawValue: 0x07)  // X = A
    package static let copyFromX = Self(rawValue: 0x87)  // A = X

    /// The operation with X in the place of k: for arithmetic and conditional jumps.
    package var withX: Self { Self(rawValue: rawValue | 0x08) }
    /// The operation with k in the place of X.
    package var withConstant: Self { Self(rawValue: rawValue & ~0x08) }
    package var usesX: Bool { rawValue & 0x08 != 0 }

    /// The low three bits, which are the instruction's class.
    package var group: UInt16 { rawValue & 0x07 }
}

extension Opcode {
    /// Whether bytes at a fixed offset are loaded: of the packet, or beside it.
    package var isLoadAtOffset: Bool { self == .loadWord || self == .loadHalf || self == .loadByte }

    static let arithmetic: Set<Self> = [
        .add, .subtract, .multiply, .divide, .or, .and, .shiftLeft, .shiftRight, .modulo, .xor,
    ]
    package static let conditionalJumps: Set<Self> = [
        .jumpIfEqual, .jumpIfGreater, .jumpIfAtLeast, .jumpIfAny,
    ]
    static let others: Set<Self> = [
        .loadWord, .loadHalf, .loadByte, .loadWordPastX, .loadHalfPastX, .loadBytePastX,
        .loadLength, .loadConstant, .loadScratch, .loadConstantToX, .loadScratchToX,
        .loadLengthToX, .loadHeaderLengthToX, .storeScratch, .storeScratchFromX, .negate, .jump,
        .keep, .keepA, .copyToX, .copyFromX,
    ]
    static let known: Set<Self> = others.union(arithmetic).union(conditionalJumps)
        .union(arithmetic.map(\.withX)).union(conditionalJumps.map(\.withX))
}
