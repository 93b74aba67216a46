package import BPF

/// A program for a socket that sees all interfaces: it lets through what passes at some of them, and
/// leaves everything about it to user space.
package enum CrowdProgram {
    package static func program(for interfaceIndexes: [UInt32]) -> Program {
        var code = Assembler()
        let settle = code.prepend(
            Instruction(.keep, EdgeProgram.settleByteCount), "user space settles it")
        let drop = code.prepend(Instruction(.keep, 0), "drop")
        guard !interfaceIndexes.isEmpty else { return .keepNothing }
        let entries = interfaceIndexes.sorted().map { (words: [$0], height: settle) }
        _ = code.search(entries[...], else: drop, "one of these edges?") { _ in
            Instruction(.loadWord, Ancillary.interfaceIndexOffset)
        }
        return code.program()
    }
}
