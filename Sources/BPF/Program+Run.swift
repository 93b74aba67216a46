import Addressing

extension Program {
    /// Runs the program in user space as the kernel would.
    ///
    /// It runs clients' filters on packets about which user space decides, so it neither allocates
    /// nor traps, whatever the packet and the program.
    ///
    /// - Returns: the number of bytes to keep, 0 for none. It can be more than the packet has.
    package func run(on packet: RawSpan, _ ancillary: Ancillary = Ancillary()) -> UInt32 {
        var machine = Machine()
        let length = ancillary.wireByteCount ?? UInt32(packet.byteCount)
        let steps = instructions.span
        var next = 0
        // The check has shown that every path ends before the program does.
        while true {
            let step = steps[next]
            next += 1
            switch step.opcode.group {
            case 0x00, 0x01:
                guard machine.load(step, from: packet, length: length, ancillary) else { return 0 }
            case 0x02: machine.scratch[Int(step.operand)] = machine.accumulator
            case 0x03: machine.scratch[Int(step.operand)] = machine.index
            case 0x04: guard machine.calculate(step) else { return 0 }
            case 0x05: next += machine.jump(step)
            case 0x06: return step.opcode == .keepA ? machine.accumulator : step.operand
            default:
                if step.opcode == .copyToX {
                    machine.index = machine.accumulator
                } else {
                    machine.accumulator = machine.index
                }
            }
        }
    }
}

/// The registers and scratch memory, with the effects of instructions on them.
private struct Machine {
    var accumulator: UInt32 = 0
    var index: UInt32 = 0
    var scratch = [16 of UInt32](repeating: 0)

    /// Loads a register.
    ///
    /// - Returns: false for a load from outside the packet, which ends the program with "drop".
    mutating func load(
        _ step: Instruction, from packet: RawSpan, length: UInt32, _ ancillary: Ancillary
    ) -> Bool {
        switch step.opcode {
        case .loadConstant: accumulator = step.operand
        case .loadConstantToX: index = step.operand
        case .loadScratch: accumulator = scratch[Int(step.operand)]
        case .loadScratchToX: index = scratch[Int(step.operand)]
        case .loadLength: accumulator = length
        case .loadLengthToX: index = length
        case .loadHeaderLengthToX:
            guard let byte = Self.number(in: packet, at: step.operand, byteCount: 1) else {
                return false
            }
            index = 4 * (byte & 0x0f)
        default:
            return loadPacket(step, packet, ancillary)
        }
        return true
    }

    private mutating func loadPacket(
        _ step: Instruction, _ packet: RawSpan, _ ancillary: Ancillary
    ) -> Bool {
        let isPastX = step.opcode.rawValue & 0xe0 == 0x40
        if !isPastX, step.operand >= Ancillary.base {
            guard let value = ancillary.value(at: step.operand) else { return false }
            accumulator = value
            return true
        }
        // The sum wraps, as the kernel's does.
        let offset = step.operand &+ (isPastX ? index : 0)
        let byteCount = 4 >> Int(step.opcode.rawValue >> 3 & 3)
        guard let value = Self.number(in: packet, at: offset, byteCount: byteCount) else {
            return false
        }
        accumulator = value
        return true
    }

    private static func number(in packet: RawSpan, at offset: UInt32, byteCount: Int) -> UInt32? {
        let offset = Int(offset)
        guard offset + byteCount <= packet.byteCount else { return nil }
        return switch byteCount {
        case 1: UInt32(packet.uint8(at: offset))
        case 2: UInt32(packet.uint16(at: offset))
        default: packet.uint32(at: offset)
        }
    }

    /// Calculates with the accumulator.
    ///
    /// - Returns: false for a division by a zero in X, which ends the program with "drop".
    mutating func calculate(_ step: Instruction) -> Bool {
        let operand = step.opcode.usesX ? index : step.operand
        switch step.opcode.withConstant {
        case .add: accumulator &+= operand
        case .subtract: accumulator &-= operand
        case .multiply: accumulator &*= operand
        case .or: accumulator |= operand
        case .and: accumulator &= operand
        case .xor: accumulator ^= operand
        // The kernel masks a shift by X to five bits.
        case .shiftLeft: accumulator &<<= operand
        case .shiftRight: accumulator &>>= operand
        case .negate: accumulator = 0 &- accumulator
        default:
            guard operand != 0 else { return false }
            accumulator =
                step.opcode.withConstant == .divide
                ? accumulator / operand : accumulator % operand
        }
        return true
    }

    /// Returns the number of instructions that a jump skips.
    func jump(_ step: Instruction) -> Int {
        if step.opcode == .jump { return Int(step.operand) }
        let operand = step.opcode.usesX ? index : step.operand
        let isTrue =
            switch step.opcode.withConstant {
            case .jumpIfEqual: accumulator == operand
            case .jumpIfGreater: accumulator > operand
            case .jumpIfAtLeast: accumulator >= operand
            default: accumulator & operand != 0
            }
        return Int(isTrue ? step.ifTrue : step.ifFalse)
    }
}
