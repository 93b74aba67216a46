import CLinux
import Glibc

/// A table of another program's eBPF, found by its pin and opened to be read (bpf(2)).
///
/// In a container the system call needs CAP_BPF, since seccomp refuses it otherwise. Before Linux 5.19
/// it needs that everywhere.
package struct PinnedMap: ~Copyable {
    private let descriptor: Descriptor
    /// The pin when the map was opened: another one there is another map.
    package let stamp: FileStamp
    private let keyByteCount: Int
    /// The length of a value.
    package let valueByteCount: Int

    /// Why a map cannot be used.
    package enum Failure: Error, Equatable, CustomStringConvertible {
        case system(SystemError)
        /// The map is none of hashes, or its keys or values have other lengths.
        case otherShape(String)

        package var description: String {
            switch self {
            case .system(let error): "\(error)"
            case .otherShape(let text): text
            }
        }
    }

    /// Opens a hash map, which must have keys and values of these lengths.
    package init(_ path: String, keyByteCount: Int, valueByteCount: Int) throws(Failure) {
        // In this order: if the pin is replaced in between, it is found to differ later.
        let stamp = try Self.asFailure { () throws(SystemError) in try FileStamp(of: path) }
        let opened = try Self.asFailure { () throws(SystemError) in try Self.open(path) }
        let shape = try Self.asFailure { () throws(SystemError) in
            try Self.shape(of: opened.fileDescriptor, path)
        }
        let isHash = [CLINUX_MAP_HASH, CLINUX_MAP_LRU_HASH].contains(CInt(bitPattern: shape.type))
        guard isHash, shape.key_byte_count == keyByteCount, shape.value_byte_count == valueByteCount
        else {
            throw .otherShape(
                """
                \(path) has type \(shape.type), keys of \(shape.key_byte_count) and values of \
                \(shape.value_byte_count) bytes, instead of type \(CLINUX_MAP_HASH) or \
                \(CLINUX_MAP_LRU_HASH), \(keyByteCount) and \(valueByteCount) bytes
                """)
        }
        descriptor = opened
        self.stamp = stamp
        self.keyByteCount = keyByteCount
        self.valueByteCount = valueByteCount
    }

    private static func open(_ path: String) throws(SystemError) -> Descriptor {
        // Safety: the call reads the path up to its end.
        try Descriptor("bpf BPF_OBJ_GET \(path)") { unsafe clinux_open_pinned_map(path) }
    }

    private static func shape(
        of fileDescriptor: CInt, _ path: String
    ) throws(SystemError) -> clinux_map_shape {
        var shape = clinux_map_shape()
        // Safety: the call fills `shape`.
        try call("bpf BPF_OBJ_GET_INFO_BY_FD \(path)") {
            unsafe clinux_shape_of_map(fileDescriptor, &shape)
        }
        return shape
    }

    private static func asFailure<Result: ~Copyable>(
        _ body: () throws(SystemError) -> Result
    ) throws(Failure) -> Result {
        do throws(SystemError) {
            return try body()
        } catch {
            throw .system(error)
        }
    }

    /// Looks a key up, and copies its value over the first bytes of an array that has room for it.
    ///
    /// The kernel answers at once, in about a microsecond.
    ///
    /// - Returns: False if the map has no such key.
    package func lookUp(_ key: [UInt8], into value: inout [UInt8]) throws(SystemError) -> Bool {
        precondition(key.count == keyByteCount && value.count >= valueByteCount)
        let descriptor = descriptor.fileDescriptor
        // Safety: the kernel reads and writes as many bytes as the map has, which were compared.
        let result = unsafe key.withUnsafeBytes { key in
            unsafe value.withUnsafeMutableBytes { value in
                unsafe clinux_map_look_up(descriptor, key.baseAddress, value.baseAddress)
            }
        }
        if result == 0 { return true }
        let errno = Errno.current
        guard errno == .noSuchFileOrDirectory else {
            throw SystemError("bpf BPF_MAP_LOOKUP_ELEM", errno)
        }
        return false
    }
}
