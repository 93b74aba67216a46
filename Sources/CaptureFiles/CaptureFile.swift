package import Linux

import Addressing

/// A pcapng file or pipe that packets are written to, through a buffer.
package struct CaptureFile: ~Copyable {
    private let descriptor: Descriptor
    private var buffer: [UInt8] = []
    private var interfaceCount = 0
    package private(set) var byteCount: UInt64 = 0
    package let path: String

    /// What has been written, and what waits to be.
    package var gatheredByteCount: UInt64 { byteCount + UInt64(buffer.count) }

    /// More than this is written at once; less waits for the next `flush`.
    private static let bufferByteCountMax = 1 << 20

    /// Creates the file, or takes standard output for `"-"`.
    package init(path: String) throws(SystemError) {
        descriptor =
            try path == "-"
            ? Descriptor(duplicatingStandardOutput: ()) : Descriptor(creating: path)
        self.path = path
        buffer.reserveCapacity(Self.bufferByteCountMax * 2)
        buffer = Pcapng.section(application: "podwire collect")
    }

    /// Adds an interface, and answers the number by which packets name it.
    package mutating func addInterface(
        name: String, description: String, snaplen: Int, linkType: UInt16 = Pcapng.ethernet
    ) -> Int {
        buffer += Pcapng.interface(
            name: name, description: description, snaplen: snaplen, linkType: linkType)
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
    package mutating func flushIfLarge() throws(SystemError) {
        if buffer.count >= Self.bufferByteCountMax { try flush() }
    }

    /// Writes all that has gathered. Waits for the disk, or for whoever reads the pipe.
    package mutating func flush() throws(SystemError) {
        try writeAll(buffer, to: descriptor.fileDescriptor, path == "-" ? "standard output" : path)
        byteCount += UInt64(buffer.count)
        buffer.removeAll(keepingCapacity: true)
    }
}
