package import Addressing
package import CaptureFiles
package import Linux

/// The readers that get the packets as a stream over TCP, and its form.
package struct FeedOptions: Sendable {
    /// Where to listen for readers; nil for nowhere.
    package var address: SocketAddress?
    /// The networks that readers may come from, beside this host; empty for all.
    package var allowed: [IPNetwork] = []
    /// The listeners that are dialled.
    package var targets: [HostPort] = []
    /// The format of the stream.
    package var format = CaptureFormat.pcap

    package init() {}

    /// Whether there is anybody who could get packets.
    package var isEmpty: Bool { address == nil && targets.isEmpty }

    /// Whether a reader may come from an address.
    ///
    /// Programs of this host always may.
    package func allows(_ reader: IPAddress) -> Bool {
        allowed.isEmpty || reader.isLoopback || allowed.contains { $0.contains(reader) }
    }

    /// The port of such streams by convention, as Arkime and others have it.
    package static let standardPort: UInt16 = 57012
    /// The most readers that are connected at once.
    ///
    /// Each has a queue of up to 8 MiB.
    package static let readerCountMax = 64
    /// The most listeners that are dialled.
    package static let targetCountMax = 16
}
