import CLinux
import Glibc

/// A file descriptor with one owner. It closes when its owner lets it go.
package struct Descriptor: ~Copyable, Sendable {
    package let fileDescriptor: CInt

    /// Takes ownership of what a system call returned.
    package init(_ operation: String, opening body: () -> CInt) throws(SystemError) {
        fileDescriptor = try call(operation, body)
    }

    /// Hands over the descriptor to somebody who closes it.
    package consuming func release() -> CInt {
        let fileDescriptor = fileDescriptor
        discard self
        return fileDescriptor
    }

    deinit {
        // Linux frees the number even if close(2) fails; a second try could close a stranger's.
        _ = close(fileDescriptor)
    }

    /// Lets the process have as many descriptors as its hard limit allows; often the soft one is 1,024,
    /// which is too few for the rings of 500 edges.
    package static func raiseCountMax() {
        // Where it fails, opening a descriptor too many says so.
        _ = clinux_raise_descriptor_limit()
    }

    /// How many the process can have then; nil for any number.
    package static var countMax: Int? {
        let limit = clinux_descriptor_limit()
        return limit < 0 ? nil : Int(limit)
    }

    /// Sets a socket option to any plain C value.
    package func set(
        _ option: CInt, of level: CInt, to value: some BitwiseCopyable, _ name: String
    ) throws(SystemError) {
        // Safety: the kernel reads exactly the bytes of `value`, and only during the call.
        let result = unsafe withUnsafeBytes(of: value) {
            unsafe setsockopt(fileDescriptor, level, option, $0.baseAddress, socklen_t($0.count))
        }
        guard result == 0 else { throw SystemError("setsockopt \(name)") }
    }

    /// Reads a socket option into a plain C value that starts out as `value`.
    package func get<Value: BitwiseCopyable>(
        _ option: CInt, of level: CInt, into value: Value, _ name: String
    ) throws(SystemError) -> Value {
        var value = value
        var byteCount = socklen_t(MemoryLayout<Value>.size)
        // Safety: the kernel writes at most `byteCount` bytes, the size of `value`.
        guard unsafe getsockopt(fileDescriptor, level, option, &value, &byteCount) == 0 else {
            throw SystemError("getsockopt \(name)")
        }
        return value
    }

    /// The error that the socket has held back for its owner, or 0. Asking takes it away.
    package func takePendingError() throws(SystemError) -> CInt {
        try get(SO_ERROR, of: SOL_SOCKET, into: 0, "SO_ERROR")
    }
}
