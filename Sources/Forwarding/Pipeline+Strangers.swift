import Addressing
import Edges
import Linux
import Observation
import PacketRing
import Packets
import RPCAP
import Time

/// Step 2, ownership: frames whose MAC address is not known yet.
extension Pipeline {
    /// The shortest time between two requests to look for unknown addresses.
    private static let sightingInterval = Duration.milliseconds(100)

    /// Holds a frame until its MAC address is known, if that is what it lacks.
    ///
    /// - Returns: Whether it is held.
    mutating func holdStranger(
        _ packet: borrowing Packet, at point: ObservationPoint, _ counters: EdgeTally,
        _ now: MonotonicTime
    ) -> Bool {
        let direction = Direction(isOutgoing: packet.details.isOutgoing)
        let mac = slowPath.rule.unknownMAC(
            in: packet.bytes, direction: direction, at: point,
            isToPodItself: packet.details.isToPodItself)
        guard let mac else { return false }
        if now >= strangersSoughtAt + Self.sightingInterval {
            strangersSoughtAt = now
            sightings.recordUnknownMAC(at: point.interfaceIndex)
        }
        guard strangers.hold(packet, until: mac, at: point, counters, now: now) else {
            self.counters.add(1, to: .strangersNotHeld)
            return false
        }
        self.counters.add(1, to: .strangersHeld)
        return true
    }

    /// Decides about frames that wait for the address from which a pod is just sending.
    ///
    /// The packet shows that its source address lives behind this edge. The frames that wait for that
    /// address come before the packet, which may answer one of them.
    mutating func releaseStrangers(
        answeredBy packet: borrowing Packet, at point: ObservationPoint,
        into queue: inout ByteQueue, _ now: MonotonicTime
    ) {
        guard strangers.count > 0, !packet.details.isOutgoing,
            packet.bytes.byteCount >= EthernetHeader.byteCount
        else { return }
        let mac = MACAddress(packet.bytes, at: EthernetHeader.source)
        releaseStrangers(into: &queue, now, at: point.adding(mac)) { frame in
            frame.mac == mac && frame.point.interfaceIndex == point.interfaceIndex
        }
    }

    /// Decides about the frames whose address is known by now, or has been waited for long enough.
    mutating func releaseStrangers(into queue: inout ByteQueue, _ now: MonotonicTime) {
        guard strangers.count > 0, queue.hasRoom(for: strangersByteCount) else { return }
        let rule = slowPath.rule
        releaseStrangers(into: &queue, now) { frame in
            now >= frame.expiresAt || rule.knows(frame.mac, at: frame.point)
        }
    }

    /// Decides about frames that meet a condition, and counts each where it was seen.
    ///
    /// `point` is what is known of their edge by now; nil for what was known when they came.
    mutating func releaseStrangers(
        into queue: inout ByteQueue, _ now: MonotonicTime, at point: ObservationPoint? = nil,
        where isWanted: (HeldStrangers.Frame) -> Bool
    ) {
        guard strangers.count > 0 else { return }
        // Moved out of `self`, so that their bytes stay in place while `self` changes.
        var frames = HeldStrangers()
        swap(&frames, &strangers)
        while let frame = frames.take(where: isWanted) {
            var counts = BlockCounts()
            punt(
                frames.packet(frame), at: point ?? frame.point, frame.counters, into: &queue, now,
                heldAt: now, &counts)
            add(counts, to: frame.counters)
        }
        swap(&frames, &strangers)
    }

    /// The room in the queue that all held frames need.
    var strangersByteCount: Int {
        strangers.byteCount + strangers.count * PacketRecord.headerByteCount
    }

    /// Looks at who sent the first IP packet of a pod in a block, in case nobody knows that address.
    ///
    /// A look at each packet would cost time. A pod that sends more than a few packets is seen soon.
    /// The first packet of all is often a request to the pod, or ARP.
    mutating func lookAtSender(
        in packets: inout PacketIterator, _ edge: EdgeContext, _ fastPath: borrowing FastPath,
        _ now: MonotonicTime
    ) {
        for _ in 0..<Self.senderLookCountMax {
            guard let packet = packets.next(), !lookAtSender(packet, edge, fastPath, now) else {
                return
            }
        }
    }

    /// The most packets of a block among which a pod's first one is looked for.
    private static let senderLookCountMax = 16

    /// Looks at who sent a packet, and returns whether no further packet need be looked at.
    private mutating func lookAtSender(
        _ packet: borrowing RingPacket, _ edge: EdgeContext, _ fastPath: borrowing FastPath,
        _ now: MonotonicTime
    ) -> Bool {
        guard case .edge(let point) = edge.source else { return true }
        let isToPod = edge.isToPod(packet)
        if isToPod, point.hasOtherPorts {
            slowPath.lookAtSender(of: packet.bytes, at: point, now: now)
        }
        guard !isToPod, let source = Self.source(of: packet.bytes) else { return false }
        guard !fastPath.isPod(source), source.isRoutable else { return true }
        let addressPlan = slowPath.rule.addressPlan
        guard !addressPlan.isPod(source), !addressPlan.isService(source),
            !addressPlan.nodeAddresses.contains(source),
            recentSenders.insert(source, at: point.interfaceIndex, now: now)
        else { return true }
        sightings.recordSender(source, at: point.interfaceIndex)
        return true
    }

    private static func source(of frame: RawSpan) -> IPAddress? {
        guard frame.byteCount >= PlainFrame.IPv4.transport else { return nil }
        switch frame.uint16(at: EthernetHeader.etherType) {
        case EtherType.ipv4: return IPAddress(.ipv4, frame, at: PlainFrame.IPv4.source)
        case EtherType.ipv6:
            guard frame.byteCount >= PlainFrame.IPv6.transport else { return nil }
            return IPAddress(.ipv6, frame, at: PlainFrame.IPv6.source)
        default: return nil
        }
    }
}
