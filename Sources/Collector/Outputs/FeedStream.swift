package import CaptureFiles
import RPCAP

/// The stream of packets that all readers of a feed get, in one format.
///
/// It has what a reader must be told before packets make sense, and a batch of packets that are
/// encoded and not yet given to readers. Each packet is encoded once for all of them.
package struct FeedStream {
    private let encoder: any CaptureEncoder
    /// The most bytes of a packet that readers get.
    let snaplen: Int
    /// The section, and the interfaces and names that are known.
    package private(set) var preamble: [UInt8] = []
    /// A number that rises when the preamble begins anew, as a new section.
    package private(set) var generation = 0
    /// The packets.
    package private(set) var batch: [UInt8] = []
    /// Where each packet of the batch ends.
    package private(set) var packetEnds: [Int] = []
    private var interfaceCount = 0
    /// The names that a section begins with.
    private let names: KnownNames
    private var linkType: UInt16?
    /// Packets of another link type than the first one, in a format that has but one.
    package private(set) var otherLinkTypeCount: UInt64 = 0

    /// The most bytes of a packet: with more, Arkime closes the connection.
    package static let snaplenMax = 65_535
    /// The most interfaces of a section; with one more a new section begins.
    private static let interfaceCountMax = SourceTable.countMax
    /// The most bytes of a preamble, so that it always fits into the queue of a reader.
    package static let preambleByteCountMax = 2 << 20
    /// The most bytes of the names that a section begins with: of some 6,000 pods.
    private static let nameByteCountMax = 1 << 19
    /// A batch of this size is given to readers at once.
    static let batchByteCountMax = 256 << 10

    /// A stream without packets.
    package init(
        _ encoder: any CaptureEncoder, snaplen: Int, _ names: KnownNames = KnownNames()
    ) {
        self.encoder = encoder
        self.names = names
        self.snaplen = min(snaplen, Self.snaplenMax)
        batch.reserveCapacity(2 * Self.batchByteCountMax)
        beginSection()
    }

    private mutating func beginSection() {
        preamble.removeAll(keepingCapacity: true)
        interfaceCount = 0
        encoder.appendSection(to: &preamble, application: "podwire collect")
        encoder.appendNames(Self.fitting(names.all), to: &preamble)
    }

    /// Begins a new section if the present one is as long as it may be.
    private mutating func makeRoom() {
        guard
            interfaceCount >= Self.interfaceCountMax
                || preamble.count >= Self.preambleByteCountMax - (1 << 20)
        else { return }
        generation += 1
        beginSection()
    }

    /// The first names, as many as have their place.
    private static func fitting(_ names: [AddressName]) -> [AddressName] {
        var room = nameByteCountMax
        return Array(
            names.prefix { name in
                // A record has 28 bytes beside the name at most.
                room -= name.name.utf8.count + 28
                return room >= 0
            })
    }

    /// Whether a device has its place in the stream.
    func knows(_ device: SourceCounters) -> Bool {
        device.place?.generation == generation
            || linkType != nil && !encoder.describesInterfaces
    }

    /// Describes a device, which readers must be told before the next batch.
    ///
    /// The batch must be empty: a new section makes the numbers of its interfaces wrong.
    package mutating func announce(_ device: SourceCounters) {
        precondition(packetEnds.isEmpty)
        guard !knows(device) else { return }
        makeRoom()
        linkType = linkType ?? device.linkType
        encoder.appendInterface(
            CaptureInterface(
                name: device.name, description: device.description, snaplen: snaplen,
                linkType: device.linkType), to: &preamble)
        device.place = (generation, interfaceCount)
        interfaceCount += 1
    }

    /// Adds new names of addresses, which readers must be told before the next batch.
    ///
    /// The batch must be empty, as for a device. A new section begins with all that are known.
    package mutating func add(_ names: [AddressName]) {
        precondition(packetEnds.isEmpty)
        let generation = generation
        makeRoom()
        // A new section has them already.
        guard generation == self.generation else { return }
        encoder.appendNames(Self.fitting(names), to: &preamble)
    }

    /// Whether packets of a device's link type have a place in the stream.
    func takes(_ device: SourceCounters) -> Bool {
        encoder.describesInterfaces || device.linkType == linkType ?? device.linkType
    }

    /// Adds a packet of a device that has been announced.
    package mutating func add(
        _ frame: RawSpan, nanoseconds: UInt64, wireByteCount: Int, of device: SourceCounters
    ) {
        guard takes(device) else {
            otherLinkTypeCount &+= 1
            return
        }
        let cut = frame.extracting(first: snaplen)
        encoder.appendPacket(
            CapturedPacket(
                interface: device.place?.number ?? 0, nanoseconds: nanoseconds,
                wireByteCount: max(wireByteCount, frame.byteCount)), cut, to: &batch)
        packetEnds.append(batch.count)
    }

    /// Whether the batch is large enough to be given to readers at once.
    var isLarge: Bool { batch.count >= Self.batchByteCountMax }

    /// The number of packets, the first ones of the batch, that fit into a number of bytes.
    package func packetCount(in byteCount: Int) -> Int {
        var (low, high) = (0, packetEnds.count)
        while low < high {
            let middle = (low + high + 1) / 2
            if packetEnds[middle - 1] <= byteCount { low = middle } else { high = middle - 1 }
        }
        return low
    }

    /// Forgets the packets of the batch, which readers have been given.
    package mutating func removeBatch() {
        batch.removeAll(keepingCapacity: true)
        packetEnds.removeAll(keepingCapacity: true)
    }
}
