import Addressing
package import Linux

/// A capture file or pipe that is written through a buffer, in any format that has an encoder.
package struct CaptureFile: ~Copyable {
    private let descriptor: Descriptor
    private let encoder: any CaptureEncoder
    private var buffer: [UInt8] = []
    private var interfaceCount = 0
    /// Names that wait for the first packet: some programs read no interface behind them.
    private var waitingNames: [UInt8] = []
    private var hasPackets = false
    /// Packets that wait in the buffer.
    package private(set) var waitingPacketCount = 0
    /// Whether there was no file before; false for standard output.
    package let isNew: Bool
    /// Bytes that have been written.
    package private(set) var byteCount: UInt64 = 0
    /// The file's path, or `"-"`.
    package let path: String

    /// Bytes that have been written, and those that wait in the buffer.
    package var gatheredByteCount: UInt64 { byteCount + UInt64(buffer.count + waitingNames.count) }

    /// More than this is written at once; less waits for the next `flush`.
    ///
    /// It fits into the cache of a CPU, where the kernel finds it again.
    private static let bufferByteCountMax = 64 << 10
    /// The stream that `"-"` means.
    private static let standardOutput = "standard output"

    /// Creates the file, or takes standard output for `"-"`.
    ///
    /// - Parameters:
    ///   - path: A file that is emptied if it is there.
    ///   - encoder: The file's format.
    ///   - application: The program that writes it.
    ///   - mustBeNew: Whether a file that is there is left alone, which is an error then.
    /// - Throws: If the file cannot be created.
    package init(
        path: String, encoder: any CaptureEncoder = PcapngEncoder(), application: String,
        mustBeNew: Bool = false
    ) throws(SystemError) {
        var isNew = mustBeNew
        if path == "-" {
            descriptor = try Descriptor(duplicatingStandardOutput: ())
        } else if mustBeNew {
            descriptor = try Descriptor(creatingNew: path)
        } else {
            descriptor = try Descriptor(creating: path, isNew: &isNew)
        }
        self.isNew = isNew
        self.path = path
        self.encoder = encoder
        buffer.reserveCapacity(Self.bufferByteCountMax * 2)
        encoder.appendSection(to: &buffer, application: application)
    }

    /// Adds an interface.
    ///
    /// - Returns: The number by which packets and statistics name it.
    package mutating func addInterface(_ interface: CaptureInterface) -> Int {
        if encoder.describesInterfaces || interfaceCount == 0 {
            encoder.appendInterface(interface, to: &buffer)
        }
        interfaceCount += 1
        return interfaceCount - 1
    }

    /// Whether the file lacks what programs need to read it, as nothing has been added to it.
    package var lacksHeader: Bool { !encoder.describesInterfaces && interfaceCount == 0 }

    /// Adds a packet of an interface that has been added.
    package mutating func add(_ packet: CapturedPacket, _ frame: RawSpan) {
        precondition(packet.interface < interfaceCount)
        beginPackets()
        encoder.appendPacket(packet, frame, to: &buffer)
        waitingPacketCount += 1
    }

    /// Adds names of addresses, which hold from here on.
    package mutating func add(_ names: [AddressName]) {
        if hasPackets {
            encoder.appendNames(names, to: &buffer)
        } else {
            encoder.appendNames(names, to: &waitingNames)
        }
    }

    private mutating func beginPackets() {
        guard !hasPackets else { return }
        hasPackets = true
        buffer += waitingNames
        waitingNames = []
    }

    /// Adds the statistics of an interface that has been added.
    package mutating func add(_ statistics: InterfaceStatistics) {
        precondition(statistics.interface < interfaceCount)
        beginPackets()
        encoder.appendStatistics(statistics, to: &buffer)
    }

    /// Writes the buffer if enough has gathered there to be worth a system call.
    package mutating func flushIfLarge() throws(SystemError) {
        if buffer.count >= Self.bufferByteCountMax { try flush() }
    }

    /// Writes the buffer.
    ///
    /// Waits for the disk, or for the reader of a pipe. If it fails a file keeps what fitted, so that
    /// no packet in it is cut, and the rest waits for another try.
    package mutating func flush() throws(SystemError) {
        var writtenCount = 0
        while writtenCount < buffer.count {
            do throws(SystemError) {
                writtenCount += try writeSome(
                    buffer[writtenCount...], to: descriptor.fileDescriptor,
                    path == "-" ? Self.standardOutput : path)
            } catch {
                if path != "-" { keepWhole(writtenCount) }
                throw error
            }
        }
        byteCount += UInt64(buffer.count)
        discardWaiting()
    }

    /// Throws away what waits in the buffer.
    package mutating func discardWaiting() {
        buffer.removeAll(keepingCapacity: true)
        waitingPacketCount = 0
    }

    /// Cuts the file behind the last thing that is whole, of which a part of the buffer was written.
    private mutating func keepWhole(_ writtenCount: Int) {
        let whole = encoder.wholePart(
            of: buffer, byteCountMax: writtenCount, isBeginning: byteCount == 0)
        byteCount += UInt64(whole.byteCount)
        buffer.removeFirst(whole.byteCount)
        waitingPacketCount -= whole.packetCount
        descriptor.cut(to: byteCount)
    }
}
