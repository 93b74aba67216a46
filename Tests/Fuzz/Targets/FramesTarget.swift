import Addressing
import Flows
import ObservationFixtures
import Packets
import Tunnels

/// A frame with any offload: its wire form, its headers, its translation, and its flow's hash.
///
/// The first bytes are the offload as a `virtio_net_hdr`, a VLAN tag, how much of the frame is
/// missing and how much is kept, and the translation.
enum FramesTarget {
    static let target = FuzzTarget(
        "frames", "frames with offloads: wire form, segmentation, translation, hash",
        byteCountMax: 8192, check)

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let head = input.take(Offload.byteCount)
        guard head.count == Offload.byteCount else { return }
        let offload = Offload(head.wire, at: 0)
        let (choices, limit) = (input.byte(), Int(input.number(UInt16.self)))
        let change = input.take(4)
        let frame = input.rest()
        try checkWireForm(frame, offload, choices, limit: limit)
        try checkPlainChecksum(frame, offload)
        try checkHash(frame)
        if change.count == 4 { try checkTranslation(frame, change) }
        try checkConversations(frame, choices)
    }

    /// Each frame counts in one conversation, or as one without IP; and twice, as twice as much.
    private static func checkConversations(
        _ frame: [UInt8], _ choices: UInt8
    ) throws(BrokenLaw) {
        var table = ConversationTable()
        for second in 1...2 {
            table.add(
                frame.wire, wireByteCount: frame.count,
                nanoseconds: UInt64(second) << (choices & 63))
        }
        table.finish()
        let packetCount = table.conversations.reduce(0) { $0 + $1.value.packetCount }
        try require(packetCount + table.otherCount == 2, "\(packetCount) of 2 packets counted")
        try require(table.conversations.count <= 1, "two conversations of one frame")
    }

    private static func checkWireForm(
        _ frame: [UInt8], _ offload: Offload, _ choices: UInt8, limit: Int
    ) throws(BrokenLaw) {
        let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
        if let fault = form.fault(in: frame, offload) {
            throw BrokenLaw(description: "\(fault), \(form.repair): \(offload)")
        }
        let tag = VLANTag(tag: 7, etherType: 0x8100)
        let other = WireForm(
            frame.wire, wireByteCount: frame.count + Int(choices >> 4), offload,
            vlan: choices & 1 == 0 ? nil : tag)
        let segments = try require(written(other, frame), "written elsewhere, with a tag")
        let cut = try require(written(other, frame, keeping: limit), "written elsewhere, cut")
        try require(
            cut == segments.map { Array($0.prefix(limit)) }, "another beginning if it is cut")
    }

    /// The short way to complete a checksum comes to what the long one does.
    private static func checkPlainChecksum(
        _ frame: [UInt8], _ offload: Offload
    ) throws(BrokenLaw) {
        guard offload.needsChecksum, offload.segmentation == .none,
            let plain = PlainChecksum(
                frame.wire, checksumStart: Int(offload.checksumStart),
                checksumOffset: Int(offload.checksumOffset))
        else { return }
        var target = [UInt8](repeating: 0xa5, count: frame.count + 2)
        var span = target.mutableSpan
        var raw = unsafe span.mutableBytes
        plain.write(frame.wire, into: &raw, at: 1)
        let form = WireForm(frame.wire, wireByteCount: frame.count, offload)
        try require(
            form.repair == .checksum && [Array(target[1...frame.count])] == written(form, frame)
                && target.first == 0xa5 && target.last == 0xa5, "another plain checksum")
    }

    /// A translation changes no checksum from right to wrong, and no length.
    private static func checkTranslation(
        _ frame: [UInt8], _ change: [UInt8]
    ) throws(BrokenLaw) {
        guard let packet = Headers(frame.wire).packet else { return }
        let address = change[0] & 1 == 0 ? packet.destination : packet.source
        let new =
            address.family == .ipv4
            ? IPAddress(ipv4: 0x0af4_0000 | UInt32(change[1]))
            : IPAddress(ipv6High: 0xfd00_0010_0244_0000, low: UInt64(change[1]))
        let (port, newPort) = (UInt16(change[2]), UInt16(change[3]) << 8)
        let ports = packet.ports ?? packet.firstFragmentPorts
        let far = address == packet.destination ? ports?.destination : ports?.source
        let near = address == packet.destination ? ports?.source : ports?.destination
        let original = FlowKey(
            transport: packet.transport, source: packet.source, destination: address,
            sourcePort: near ?? port, destinationPort: far ?? port)
        let reply = FlowKey(
            transport: packet.transport, source: new, destination: packet.source,
            sourcePort: newPort, destinationPort: change[0] & 2 == 0 ? near ?? port : newPort)
        guard let translation = Translation(TrackedFlow(original: original, reply: reply)) else {
            throw BrokenLaw(description: "no translation of \(address) to \(new)")
        }
        for isPartial in [false, true] {
            var translated = frame
            var span = translated.mutableSpan
            var raw = unsafe span.mutableBytes
            translation.apply(to: &raw, packet, hasPartialChecksum: isPartial)
            try require(translated.count == frame.count, "another length")
            if !isPartial, packet.fragment == nil { try compareSums(frame, translated) }
        }
    }

    /// Both directions of a flow have one hash, behind a tag too.
    private static func checkHash(_ frame: [UInt8]) throws(BrokenLaw) {
        let hash = FlowHash.hash(of: frame.wire)
        guard frame.count >= EthernetHeader.byteCount else { return }
        let type = EthernetHeader.etherType
        if !VLANTag.isTag(frame.wire.uint16(at: type)) {
            let tagged = frame[..<type] + [0x81, 0, 0, 7] + frame[type...]
            try require(FlowHash.hash(of: Array(tagged).wire) == hash, "another hash with a tag")
        }
        var reversed = frame
        func swap(_ left: Int, _ right: Int, count: Int) {
            for index in 0..<count { reversed.swapAt(left + index, right + index) }
        }
        swap(EthernetHeader.destination, EthernetHeader.source, count: 6)
        if let packet = Headers(frame.wire).packet {
            let family = packet.source.family
            let source = EthernetHeader.byteCount + family.sourceOffset
            swap(source, source + family.byteCount, count: family.byteCount)
            if packet.ports != nil, IPProtocol.hasPorts(packet.transport),
                let offset = packet.transportOffset
            {
                swap(offset, offset + 2, count: 2)
            }
        }
        try require(FlowHash.hash(of: reversed.wire) == hash, "another hash in reverse")
    }

    private static func compareSums(
        _ frame: [UInt8], _ translated: [UInt8]
    ) throws(BrokenLaw) {
        guard let before = SentPacket(frame), let after = SentPacket(translated) else { return }
        try require(
            after.isHeaderSumRight || !before.isHeaderSumRight, "a wrong IP checksum")
        guard before.isSumKnown, before.hasTransportHeader, before.isSumRight else { return }
        try require(after.isSumRight, "a wrong transport checksum: \(translated)")
    }
}
