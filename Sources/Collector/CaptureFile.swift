package import Kernel

import Frames
import Glibc

/// A pcapng file or pipe that packets are written to, through a buffer.
package struct CaptureFile: ~Copyable {
    private let descriptor: Descriptor
    private var buffer: [UInt8] = []
    private var interfaceCount = 0
    package private(set) var byteCount: UInt64 = 0
    package let path: String

    /// More than this is written at once; less waits for the next `flush`.
    private static let bufferByteCountMax = 1 << 20

    /// Creates the file, or takes standard output for `"-"`.
    package init(path: String) throws(SystemError) {
        descriptor =
            path == "-"
            ? try Descriptor("dup of standard output") { dup(STDOUT_FILENO) }
            : try Descriptor("create \(path)") {
                unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            }
        self.path = path
        buffer.reserveCapacity(Self.bufferByteCountMax * 2)
        buffer = Pcapng.section(application: "podwire collect")
    }

    /// Adds an interface, and answers the number by which packets name it.
    package mutating func addInterface(
        name: String, description: String, snaplen: Int
    ) -> Int {
        buffer += Pcapng.interface(name: name, description: description, snaplen: snaplen)
        interfaceCount += 1
        return interfaceCount - 1
    }

    package mutating func add(
        _ frame: RawSpan, interface: Int, nanoseconds: UInt64, wireByteCount: Int
    ) {
        Pcapng.appendPacket(
            to: &buffer, interface: interface, nanoseconds: nanoseconds,
            wireByteCount: wireByteCount, frame)
    }

    package mutating func add(
        _ counts: InterfaceCounts, interface: Int, start: UInt64, end: UInt64
    ) {
        buffer += Pcapng.statistics(interface: interface, start: start, end: end, counts)
    }

    /// Writes if enough has gathered to make it worth while.
    mutating func flushIfLarge() throws(SystemError) {
        if buffer.count >= Self.bufferByteCountMax { try flush() }
    }

    /// Writes all that has gathered. Waits for the disk, or for whoever reads the pipe.
    package mutating func flush() throws(SystemError) {
        var start = 0
        while start < buffer.count {
            // Safety: the call reads only the bytes from `start` to the end of the buffer.
            let count = unsafe buffer.withUnsafeBytes { bytes in
                unsafe write(descriptor.number, bytes.baseAddress! + start, bytes.count - start)
            }
            guard count >= 0 else {
                if errno == EINTR { continue }
                throw SystemError("write \(path == "-" ? "standard output" : path)")
            }
            start += count
        }
        byteCount += UInt64(buffer.count)
        buffer.removeAll(keepingCapacity: true)
    }
}
