package import Addressing
package import Packets
package import Time

/// A limit on the payload that is sent of each direction of a flow.
///
/// After that only packets without payload are sent, and those that open, end or reset a connection. So a
/// sensor sees each flow's beginning, its time and its end. A flow is forgotten when it has ended and is
/// opened again, or when nothing was seen of it for two minutes.
package struct FlowCutoff: Sendable {
    private let byteCountMax: Int
    private var flows = BoundedTable<FlowKey, Flow>(countMax: flowCountMax, age: flowAge)
    /// The flows that programs drop, or are to be watched for whether they still go on.
    private var dropped: [FlowKey: Drop] = [:]
    /// How many of them each edge has.
    private var droppedCounts: [UInt32: Int] = [:]
    /// The flows that programs drop if they are installed from now on, by edge.
    package private(set) var dropLists: [UInt32: [FlowKey]] = [:]
    private var dueAt = MonotonicTime.zero
    private var urgentDueAt = MonotonicTime.zero
    /// Whether a flow that programs drop has been opened again.
    private var isUrgent = false

    /// Room for all flows of a busy node that carry payload.
    private static let flowCountMax = 65_536
    private static let flowAge = Duration.seconds(60)
    /// The most flows that the program of an edge drops; each takes about six instructions.
    package static let dropCountMax = 64
    /// The most flows that programs drop or might, of an edge and of all: one pod takes no other's place.
    private static let candidateCountMax = 256
    private static let candidateCountMost = 2048
    /// The packets that user space drops of a flow before a new program is worth it.
    private static let packetCountMin = 32
    /// How long a program drops a flow before it is looked at again, which may have ended unseen.
    private static let dropTime = Duration.seconds(30)
    /// How long a flow is looked at.
    private static let probeTime = Duration.seconds(2)
    /// The shortest time between two sets of programs; on a node with many edges it is longer.
    private static let intervalMin = Duration.milliseconds(500)
    private static let intervalPerEdge = Duration.milliseconds(10)
    /// The shortest time between two sets of programs if a flow that they drop has been opened again.
    private static let urgentIntervalMin = Duration.milliseconds(20)

    /// Both directions of a flow: the first one is that of the key.
    private struct Flow: Sendable {
        var byteCounts: (forth: Int, back: Int) = (0, 0)
    }

    /// A flow's direction that is dropped.
    private struct Drop: Sendable {
        /// The edge that reports it.
        var interfaceIndex: UInt32
        var packetCount = 1
        /// When the state below began.
        var since: MonotonicTime
        var state = State.inUserSpace

        enum State: Equatable {
            case inUserSpace
            case inPrograms
            /// Programs let it in for a while, to see whether it goes on.
            case watched
        }
    }

    /// What the cutoff looks at in a packet.
    package struct Content {
        /// The bytes behind the transport's header.
        package let payloadByteCount: Int
        /// The flags of a TCP segment; nil for other protocols.
        package let flags: UInt8?

        package init(payloadByteCount: Int, flags: UInt8?) {
            (self.payloadByteCount, self.flags) = (payloadByteCount, flags)
        }
    }

    /// Limits each direction of a flow to this many bytes of payload.
    package init(byteCountMax: Int) {
        self.byteCountMax = byteCountMax
        dropped.reserveCapacity(Self.candidateCountMost)
    }

    /// Whether a packet is sent; its payload counts if so.
    ///
    /// - Parameters:
    ///   - flow: The packet's flow in its direction, in the form in which it is reported.
    ///   - content: What the packet has.
    ///   - interfaceIndex: The edge that reports it, whose program could drop it; nil if it could not.
    ///   - now: The time.
    /// - Returns: Whether it is sent.
    package mutating func admits(
        _ flow: FlowKey, _ content: Content, at interfaceIndex: UInt32?, now: MonotonicTime
    ) -> Bool {
        let isForth = flow.isForth
        let key = isForth ? flow : flow.reversed
        let known = flows.touch(key, now: now)
        if let flags = content.flags, flags & TCPHeader.boundaryFlags != 0 {
            let isOpened = flags & TCPHeader.syn != 0
            if isOpened, known != nil { flows.remove(key) }
            let isDropped = forget(flow)
            if forget(flow.reversed) || isDropped { isUrgent = isUrgent || isOpened }
            return true
        }
        // Without payload there is nothing to count, so that scans take no room.
        guard content.payloadByteCount > 0 else { return true }
        var entry = known ?? Flow()
        let byteCount = isForth ? entry.byteCounts.forth : entry.byteCounts.back
        guard byteCount < byteCountMax else {
            if let interfaceIndex { recordDrop(of: flow, at: interfaceIndex, now) }
            return false
        }
        if isForth {
            entry.byteCounts.forth += content.payloadByteCount
        } else {
            entry.byteCounts.back += content.payloadByteCount
        }
        flows.set(entry, for: key, now: now)
        return true
    }

    private mutating func recordDrop(
        of flow: FlowKey, at interfaceIndex: UInt32, _ now: MonotonicTime
    ) {
        if let known = dropped.index(forKey: flow),
            dropped.values[known].interfaceIndex == interfaceIndex
        {
            dropped.values[known].packetCount += 1
            return
        }
        // Another edge reports it from now on, if any did.
        _ = remove(flow)
        let count = droppedCounts[interfaceIndex, default: 0]
        guard count < Self.candidateCountMax, dropped.count < Self.candidateCountMost else {
            return
        }
        droppedCounts[interfaceIndex] = count + 1
        dropped[flow] = Drop(interfaceIndex: interfaceIndex, since: now)
    }

    /// Forgets that a flow is dropped.
    ///
    /// - Returns: Whether programs drop it.
    private mutating func forget(_ flow: FlowKey) -> Bool {
        dropped.isEmpty ? false : remove(flow)?.state == .inPrograms
    }

    private mutating func remove(_ flow: FlowKey) -> Drop? {
        guard let drop = dropped.removeValue(forKey: flow) else { return nil }
        let count = droppedCounts[drop.interfaceIndex, default: 1] - 1
        droppedCounts[drop.interfaceIndex] = count == 0 ? nil : count
        return drop
    }

    /// Brings the lists up to date, when that is due.
    ///
    /// - Returns: Whether the installed programs drop too much.
    package mutating func refresh(edgeCount: Int, now: MonotonicTime) -> Bool {
        let isDue = now >= dueAt || isUrgent && now >= urgentDueAt
        guard isDue, !dropped.isEmpty || !dropLists.isEmpty else { return false }
        defer { isUrgent = false }
        dueAt = now + max(Self.intervalMin, Self.intervalPerEdge * edgeCount)
        urgentDueAt = now + Self.urgentIntervalMin
        var lists: [UInt32: [FlowKey]] = [:]
        for (flow, drop, isNew) in listed(now) {
            if lists[drop.interfaceIndex, default: []].count < Self.dropCountMax {
                lists[drop.interfaceIndex, default: []].append(flow)
                if isNew { enter(.inPrograms, flow, now) }
                // Its packets are not seen, but it goes on.
                _ = flows.touch(flow.isForth ? flow : flow.reversed, now: now)
            } else if now - drop.since > Self.flowAge {
                // It is recorded again if it still goes on.
                _ = remove(flow)
            }
        }
        for (index, flows) in lists { lists[index] = flows.sorted { $0.words < $1.words } }
        if lists != dropLists { dropLists = lists }
        return isUrgent
    }

    /// The flows that programs may drop: first those that they drop already, then the busiest ones.
    private mutating func listed(
        _ now: MonotonicTime
    ) -> [(flow: FlowKey, drop: Drop, isNew: Bool)] {
        var installed: [(flow: FlowKey, drop: Drop, isNew: Bool)] = []
        var candidates = installed
        for (flow, drop) in dropped {
            let age = now - drop.since
            switch drop.state {
            case .inUserSpace where drop.packetCount >= Self.packetCountMin,
                .watched where drop.packetCount > 0:
                candidates.append((flow, drop, true))
            case .inUserSpace: if age > Self.flowAge { _ = remove(flow) }
            case .inPrograms where age > Self.dropTime: enter(.watched, flow, now)
            case .inPrograms: installed.append((flow, drop, false))
            case .watched: if age > Self.probeTime { _ = remove(flow) }
            }
        }
        candidates.sort { $0.drop.packetCount > $1.drop.packetCount }
        return installed + candidates
    }

    private mutating func enter(
        _ state: Drop.State, _ flow: FlowKey, _ now: MonotonicTime
    ) {
        guard var drop = dropped[flow] else { return }
        (drop.state, drop.since) = (state, now)
        if state == .watched { drop.packetCount = 0 }
        dropped[flow] = drop
    }
}

extension FlowKey {
    /// Whether the flow's own direction is the one by which both are known.
    fileprivate var isForth: Bool {
        source == destination ? sourcePort <= destinationPort : source < destination
    }

    /// The flow's order among others.
    fileprivate var words: (UInt8, UInt32, IPAddress, IPAddress) {
        (transport, UInt32(sourcePort) << 16 | UInt32(destinationPort), source, destination)
    }
}

extension FlowCutoff.Content {
    /// What a whole packet of TCP or UDP has; nil for others, and for fragments.
    package init?(_ packet: IPPacket, in frame: RawSpan, wireByteCount: Int) {
        guard packet.fragment == nil, packet.ports != nil, let start = packet.transportOffset,
            packet.transport == IPProtocol.tcp || packet.transport == IPProtocol.udp
        else { return nil }
        let end = packet.end(in: frame, wireByteCount: wireByteCount)
        guard packet.transport == IPProtocol.tcp else {
            self.init(payloadByteCount: max(0, end - start - UDPHeader.byteCount), flags: nil)
            return
        }
        guard start + TCPHeader.flags < frame.byteCount else { return nil }
        let headerByteCount = Int(frame.uint8(at: start + TCPHeader.lengthAndFlags) >> 4) * 4
        self.init(
            payloadByteCount: max(0, end - start - headerByteCount),
            flags: frame.uint8(at: start + TCPHeader.flags))
    }
}

extension IPPacket {
    /// Where the packet ends in its frame, before it was cut; what follows is padding.
    fileprivate func end(in frame: RawSpan, wireByteCount: Int) -> Int {
        let start = EthernetHeader.byteCount
        let (length, offset) =
            switch source.family {
            case .ipv4: (frame.uint16(at: start + IPv4Header.totalLength), 0)
            case .ipv6:
                (frame.uint16(at: start + IPv6Header.payloadLength), IPv6Header.byteCount)
            }
        // The kernel writes a length of 0 if the packet is longer than the field can say.
        return length == 0 ? wireByteCount : start + offset + Int(length)
    }
}
