import CLinux
import Glibc

/// A file descriptor with one owner, which closes when the owner lets it go.
package struct Descriptor: ~Copyable, Sendable {
    /// The number by which the kernel knows it.
    package let fileDescriptor: CInt

    /// Takes ownership of the descriptor that a system call returns.
    package init(_ operation: String, opening body: () -> CInt) throws(SystemError) {
        fileDescriptor = try call(operation, body)
    }

    /// Gives up ownership to a caller who closes the descriptor.
    package consuming func release() -> CInt {
        let fileDescriptor = fileDescriptor
        discard self
        return fileDescriptor
    }

    deinit {
        // Linux frees the number even if close(2) fails; a second try could close another's.
        _ = close(fileDescriptor)
    }
}

extension Descriptor {
    /// Raises the process's limit of open descriptors to its hard limit.
    ///
    /// The soft limit is often 1,024, which is too few for the rings of 500 edges.
    package static func raiseCountMax() {
        // If it fails, opening a descriptor too many reports it.
        _ = clinux_raise_descriptor_limit()
    }

    /// The hard limit of open descriptors, or nil if there is none.
    package static var countMax: Int? {
        let limit = clinux_descriptor_limit()
        return limit < 0 ? nil : Int(limit)
    }
}

extension Descriptor {
    /// Sets a socket option to a plain C value.
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

    /// Takes the error that is pending on the socket, or nil if none is.
    package func takePendingError() throws(SystemError) -> Errno? {
        let code = try get(SO_ERROR, of: SOL_SOCKET, into: CInt(0), "SO_ERROR")
        return code == 0 ? nil : Errno(rawValue: code)
    }
}

extension Descriptor {
    /// An instruction of a socket filter (`struct sock_filter`).
    package typealias FilterInstruction = (
        code: UInt16, ifTrue: UInt8, ifFalse: UInt8, operand: UInt32
    )

    /// Has the kernel run a filter on each packet before the socket receives it.
    package func attachFilter(
        _ instructions: some Sequence<FilterInstruction>
    ) throws(SystemError) {
        try Self.attachFilter(instructions, to: fileDescriptor)
    }

    /// Has the kernel run a filter on each packet before a socket receives it.
    ///
    /// The filter replaces the socket's last one between two packets. An instruction takes up to 60
    /// bytes of the kernel's memory.
    ///
    /// - Throws: `ENOMEM` if the old and the new filter together exceed `net.core.optmem_max`, which
    ///   is 128 KiB, and 20 KiB before Linux 6.8.
    package static func attachFilter(
        _ instructions: some Sequence<FilterInstruction>, to socket: CInt
    ) throws(SystemError) {
        let operation = "setsockopt SO_ATTACH_FILTER"
        var steps = instructions.map { step in
            sock_filter(code: step.code, jt: step.ifTrue, jf: step.ifFalse, k: step.operand)
        }
        // Safety: the kernel copies the program during the call.
        let result = try unsafe steps.withUnsafeMutableBufferPointer { steps throws(SystemError) in
            guard let count = UInt16(exactly: steps.count) else {
                throw SystemError(operation, .invalidArgument)
            }
            var program = unsafe sock_fprog(len: count, filter: steps.baseAddress)
            return unsafe setsockopt(
                socket, SOL_SOCKET, SO_ATTACH_FILTER, &program,
                socklen_t(MemoryLayout<sock_fprog>.size))
        }
        guard result == 0 else { throw SystemError(operation) }
    }
}
