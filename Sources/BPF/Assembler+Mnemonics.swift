/// The instructions by their names in bpf_asm(8).
extension Assembler {
    /// A word that `ld` loads into the accumulator.
    package enum Operand: Sendable {
        /// Four bytes of the packet, from an offset; or ancillary data (see `Ancillary`).
        case packet(UInt32)
        /// Two bytes of the packet, from an offset.
        case half(UInt32)
        /// A word of scratch memory.
        case scratch(UInt32)
        case constant(UInt32)
        /// The length of the packet.
        case length

        /// The packet's type, which shows its direction.
        package static let packetType = Self.packet(Ancillary.packetTypeOffset)
        /// The index of the interface at which the packet passed.
        package static let interfaceIndex = Self.packet(Ancillary.interfaceIndexOffset)
        /// 1 if the kernel took a VLAN tag out of the packet, else 0.
        package static let tagPresence = Self.packet(Ancillary.tagPresenceOffset)
    }

    package mutating func ld(_ operand: Operand, _ note: String = "") {
        switch operand {
        case .packet(let offset): emit(Instruction(.loadWord, offset), note)
        case .half(let offset): emit(Instruction(.loadHalf, offset), note)
        case .scratch(let word): emit(Instruction(.loadScratch, word), note)
        case .constant(let value): emit(Instruction(.loadConstant, value), note)
        case .length: emit(Instruction(.loadLength), note)
        }
    }

    package mutating func ldh(_ offset: Int, _ note: String) {
        emit(Instruction(.loadHalf, UInt32(offset)), note)
    }

    package mutating func ldb(_ offset: Int, _ note: String) {
        emit(Instruction(.loadByte, UInt32(offset)), note)
    }

    package mutating func st(_ word: UInt32, _ note: String) {
        emit(Instruction(.storeScratch, word), note)
    }

    package mutating func tax(_ note: String) { emit(Instruction(.copyToX), note) }

    package mutating func and(_ value: UInt32, _ note: String) {
        emit(Instruction(.and, value), note)
    }

    package mutating func add(_ value: UInt32, _ note: String) {
        emit(Instruction(.add, value), note)
    }

    /// Adds X to the accumulator.
    package mutating func addX(_ note: String) { emit(Instruction(.add.withX), note) }

    package mutating func mod(_ value: UInt32, _ note: String) {
        emit(Instruction(.modulo, value), note)
    }

    /// Combines the accumulator and X by "exclusive or".
    package mutating func xorX(_ note: String) { emit(Instruction(.xor.withX), note) }

    package mutating func mul(_ value: UInt32, _ note: String) {
        emit(Instruction(.multiply, value), note)
    }

    package mutating func lsh(_ count: UInt32, _ note: String) {
        emit(Instruction(.shiftLeft, count), note)
    }

    package mutating func rsh(_ count: UInt32, _ note: String) {
        emit(Instruction(.shiftRight, count), note)
    }

    /// Combines the accumulator and X by "or".
    package mutating func orX(_ note: String) { emit(Instruction(.or.withX), note) }

    /// Ends the program; it keeps this many bytes of the packet, and 0 drops it.
    package mutating func ret(_ byteCount: UInt32, _ note: String) {
        emit(Instruction(.keep, byteCount), note)
    }

    package mutating func jeq(
        _ value: UInt32, then yes: Label, else no: Label, _ note: String
    ) { test(.jumpIfEqual, value, then: yes, else: no, note) }

    package mutating func jgt(
        _ value: UInt32, then yes: Label, else no: Label, _ note: String
    ) { test(.jumpIfGreater, value, then: yes, else: no, note) }

    package mutating func jge(
        _ value: UInt32, then yes: Label, else no: Label, _ note: String
    ) { test(.jumpIfAtLeast, value, then: yes, else: no, note) }

    /// Tests whether the accumulator has any of these bits.
    package mutating func jset(
        _ bits: UInt32, then yes: Label, else no: Label, _ note: String
    ) { test(.jumpIfAny, bits, then: yes, else: no, note) }

    /// Tests whether the accumulator equals X.
    package mutating func jeqX(then yes: Label, else no: Label, _ note: String) {
        test(.jumpIfEqual.withX, 0, then: yes, else: no, note)
    }

    /// Tests whether the accumulator is greater than X.
    package mutating func jgtX(then yes: Label, else no: Label, _ note: String) {
        test(.jumpIfGreater.withX, 0, then: yes, else: no, note)
    }
}
