package import Addressing

/// A format of capture files: turns what is recorded into the bytes of a file.
///
/// A file is encoded in order: its section, then each interface before its first packet, packets as
/// they come, and statistics at the end. A format without one of these appends nothing for it.
/// Interfaces are numbered from 0 in the order in which they are added. Times are nanoseconds since
/// 1970.
package protocol CaptureEncoder: Sendable {
    /// The ending of such files' names, such as `"pcapng"`.
    var fileExtension: String { get }

    /// Whether a file has a description of each interface; otherwise the first one gives all packets
    /// their link type, and no other is appended.
    var describesInterfaces: Bool { get }

    /// Appends the beginning of a file, which names the program that writes it.
    func appendSection(to bytes: inout [UInt8], application: String)

    /// Appends the description of an interface.
    func appendInterface(_ interface: CaptureInterface, to bytes: inout [UInt8])

    /// Appends a packet. Frames are copied once, straight to where they are written from.
    func appendPacket(_ packet: CapturedPacket, _ frame: RawSpan, to bytes: inout [UInt8])

    /// Appends names of addresses, which hold from here on.
    func appendNames(_ names: [AddressName], to bytes: inout [UInt8])

    /// Appends what an interface counted in the time of the file.
    func appendStatistics(_ statistics: InterfaceStatistics, to bytes: inout [UInt8])

    /// The most bytes that a packet takes beside its frame and its comment.
    var packetByteCountMax: Int { get }

    /// The bytes that the statistics of an interface take.
    var statisticsByteCount: Int { get }

    /// What of appended bytes is whole, if a file ends after some of them.
    ///
    /// - Parameters:
    ///   - bytes: What has been appended, from the end of something whole on.
    ///   - byteCountMax: Where the file ends.
    ///   - isBeginning: Whether the bytes are the first ones of the file.
    /// - Returns: Where the last whole thing ends, and how many packets there are up to it.
    func wholePart(
        of bytes: [UInt8], byteCountMax: Int, isBeginning: Bool
    ) -> WholePart
}

/// A beginning of bytes that has no part of anything but all of it.
package struct WholePart: Equatable, Sendable {
    package var byteCount = 0
    package var packetCount = 0

    package init() {}
}

extension CaptureEncoder {
    /// Appends nothing: most formats have no place for names.
    package func appendNames(_ names: [AddressName], to bytes: inout [UInt8]) {}

    /// The bytes that the description of an interface takes.
    package func byteCount(of interface: CaptureInterface) -> Int {
        var bytes: [UInt8] = []
        appendInterface(interface, to: &bytes)
        return bytes.count
    }
}

/// The name of an address in a capture file.
package struct AddressName: Equatable, Sendable {
    package let address: IPAddress
    /// The name, without a zero byte.
    package let name: String

    package init(_ address: IPAddress, _ name: String) {
        (self.address, self.name) = (address, name)
    }
}

/// An interface as capture files describe it.
package struct CaptureInterface: Equatable, Sendable {
    package let name: String
    package let description: String
    /// The most bytes of each packet that were asked for.
    package let snaplen: Int
    /// The link type's number in capture files.
    package let linkType: UInt16
    /// What was asked for; nil for all packets.
    package var filter: CaptureFilter?

    /// The link type of Ethernet, `LINKTYPE_ETHERNET`.
    package static let ethernet: UInt16 = 1

    package init(
        name: String, description: String, snaplen: Int, linkType: UInt16 = Self.ethernet
    ) {
        (self.name, self.description) = (name, description)
        (self.snaplen, self.linkType) = (snaplen, linkType)
    }
}

/// A filter as capture files describe it.
package enum CaptureFilter: Equatable, Sendable {
    /// A filter in the words of pcap-filter(7).
    case text(String)
    /// Instructions of a socket filter, each as the eight bytes of a little-endian `struct bpf_insn`.
    case program([UInt64])
}

/// A packet in a capture file, without its bytes.
package struct CapturedPacket: Equatable, Sendable {
    /// The number of the interface in this file.
    package let interface: Int
    /// When it was captured, since 1970.
    package let nanoseconds: UInt64
    /// The length that it had on the wire.
    package let wireByteCount: Int
    /// What a person should know of it; nil for nothing, which is the rule.
    package var comment: String?

    package init(interface: Int, nanoseconds: UInt64, wireByteCount: Int) {
        (self.interface, self.nanoseconds) = (interface, nanoseconds)
        self.wireByteCount = wireByteCount
    }
}

/// The packets that an interface counted in a period.
package struct InterfaceStatistics: Equatable, Sendable {
    /// The number of the interface in this file.
    package let interface: Int
    /// The first and the last nanosecond, since 1970.
    package let start: UInt64
    package let end: UInt64
    package let counts: InterfaceCounts

    package init(interface: Int, start: UInt64, end: UInt64, counts: InterfaceCounts) {
        (self.interface, self.counts) = (interface, counts)
        (self.start, self.end) = (start, end)
    }
}

/// The packets that an interface has counted.
package struct InterfaceCounts: Equatable, Sendable {
    /// Packets that arrived at the interface.
    package var received: UInt64 = 0
    /// Packets that the interface dropped.
    package var droppedByInterface: UInt64 = 0
    /// Packets that the kernel dropped, since nobody read them in time.
    package var droppedByKernel: UInt64 = 0
    /// Packets that have reached the recording.
    package var delivered: UInt64 = 0

    package init() {}

    /// The difference from an earlier reading.
    package func since(_ earlier: Self) -> Self {
        var counts = self
        counts.received &-= earlier.received
        counts.droppedByInterface &-= earlier.droppedByInterface
        counts.droppedByKernel &-= earlier.droppedByKernel
        counts.delivered &-= earlier.delivered
        return counts
    }
}
