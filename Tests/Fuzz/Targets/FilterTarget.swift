import Addressing
import BPF
import Filter

/// Filters as people write them, and bytes that are none.
///
/// What is compiled can be listed, passes the kernel's check, and runs on any frame; what is not has a
/// place and a reason that can be shown.
enum FilterTarget {
    static let target = FuzzTarget(
        "filter", "filters in words, and the frames that they see", byteCountMax: 4096, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let resolves = input.byte() % 2 == 0
        let text = String(decoding: input.rest(), as: UTF8.self)
        let filter: FilterExpression
        do throws(FilterError) {
            filter =
                resolves
                ? try FilterExpression(text) { _ in [IPAddress(ipv4: 0x0a01_0203)] }
                : try FilterExpression(text)
        } catch {
            let shown = error.text(in: text) + error.line(in: text)
            let isPrintable = shown.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f || $0 == 0x0a }
            return try require(isPrintable, "cannot be shown: \(Array(shown.utf8))")
        }
        try check(filter.program, on: bytes)
    }

    private static func check(_ program: Program, on frame: [UInt8]) throws(BrokenLaw) {
        try require(
            (try? Program(checking: program.instructions)) != nil, "the check refuses the program")
        try require(
            program.isForKernel || program.instructions.count > Program.kernelInstructionCountMax,
            "the kernel would refuse the program")
        let kept = program.run(on: frame.wire)
        try require(
            kept == 0 || kept >= FilterExpression.keptByteCount, "it keeps \(kept) bytes")
        try require(
            program.listing.count == program.instructions.count, "the listing is not whole")
        // Another one behind it keeps what both keep.
        let both = program.followed(by: program)
        try require((both.run(on: frame.wire) > 0) == (kept > 0), "it differs from itself twice")
    }
}
