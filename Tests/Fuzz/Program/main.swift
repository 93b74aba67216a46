import CLibFuzzer
import FuzzTargets
import Glibc

/// A target of the guided fuzzer, whose name is in FUZZ_TARGET; the arguments are libFuzzer's own.
///
/// The name is no argument because libFuzzer starts itself again with all of them.
private let target = FuzzTarget.all.first { target in
    unsafe getenv("FUZZ_TARGET").map { unsafe String(cString: $0) } == target.name
}

private func say(_ text: String) {
    let bytes = Array(text.utf8)
    unsafe _ = write(STDERR_FILENO, bytes, bytes.count)
}

/// Reads one input, for libFuzzer.
private func check(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    // Safety: libFuzzer lends `count` bytes for the call.
    let bytes = unsafe [UInt8](UnsafeBufferPointer(start: bytes, count: count))
    do throws(BrokenLaw) {
        try target?.check(bytes)
    } catch {
        // libFuzzer writes the input to a file when the program aborts.
        say("== a broken law: \(error)\n")
        abort()
    }
    return 0
}

private func run() -> CInt {
    guard let target else {
        for target in FuzzTarget.all { say("\(target.name)\t\(target.summary)\n") }
        return 64
    }
    // An option of the caller comes later, and wins.
    let limit = "-max_len=\(target.byteCountMax)"
    var arguments = CommandLine.arguments
    arguments.insert(limit, at: 1)
    // Safety: libFuzzer reads the arguments, which end with a null pointer, as long as it runs.
    var pointers = unsafe arguments.map { unsafe strdup($0) } + [nil]
    return unsafe pointers.withUnsafeMutableBufferPointer { pointers in
        var count = CInt(arguments.count)
        var first = pointers.baseAddress
        return unsafe clibfuzzer_run(&count, &first) { unsafe check($0, $1) }
    }
}

exit(run())
