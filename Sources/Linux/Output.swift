import Glibc

/// Writes all of the bytes, and waits where it has to: for a disk, or for whoever reads a pipe.
package func writeAll(
    _ bytes: some Collection<UInt8>, to fileDescriptor: CInt, _ name: @autoclosure () -> String
) throws(SystemError) {
    var rest = Array(bytes)[...]
    while !rest.isEmpty { rest = rest.dropFirst(try writeSome(rest, to: fileDescriptor, name())) }
}

/// Writes as many of the bytes as the kernel takes at once, and answers how many that were. Waits like
/// `writeAll`.
package func writeSome(
    _ bytes: ArraySlice<UInt8>, to fileDescriptor: CInt, _ name: @autoclosure () -> String
) throws(SystemError) -> Int {
    // Safety: the call reads only the slice's bytes.
    try call("write \(name())") {
        unsafe bytes.withUnsafeBytes { unsafe write(fileDescriptor, $0.baseAddress, $0.count) }
    }
}

/// Whether a person is likely to read what is written there.
package func isTerminal(_ fileDescriptor: CInt) -> Bool { isatty(fileDescriptor) == 1 }

extension Descriptor {
    /// Creates a file, or empties the one that is there.
    package init(creating path: String) throws(SystemError) {
        try self.init("create \(path)") {
            unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        }
    }

    /// A second descriptor for standard output.
    package init(duplicatingStandardOutput: Void) throws(SystemError) {
        try self.init("dup of standard output") { dup(STDOUT_FILENO) }
    }
}

/// Removes a file's name; the file goes when nobody has it open any more.
package func removeFile(_ path: String) throws(SystemError) {
    try call("remove \(path)") { unsafe unlink(path) }
}
