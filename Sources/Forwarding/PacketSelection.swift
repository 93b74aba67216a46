import Addressing
import Observation
import PacketRing
import Packets
import Settings
import Time

/// What of the packets that the rule reports is sent, whatever sessions ask for.
struct PacketSelection: Sendable {
    private let sample: FlowSample?
    /// Nil for no limit.
    var cutoff: FlowCutoff?

    init(_ settings: SelectionSettings) {
        sample = settings.sample
        cutoff = settings.cutoffByteCount.map { FlowCutoff(byteCountMax: $0) }
    }

    /// Whether the ports of fragments are needed.
    var needsPorts: Bool { sample != nil }

    /// Whether it has to look at each packet that is sent.
    ///
    /// Programs choose flows by themselves, so a sample of flows does not.
    var seesAll: Bool { cutoff != nil }

    /// Whether anything is left out.
    var isEverything: Bool { sample == nil && cutoff == nil }

    /// Whether a packet is sent; one that is not is counted.
    ///
    /// - Parameters:
    ///   - packet: The packet.
    ///   - translation: The change into the form in which it is reported.
    ///   - ports: The ports of a fragment's datagram, as the frame has them.
    ///   - interfaceIndex: The edge that reports it.
    ///   - isSampled: Whether the kernel has chosen the flow already.
    ///   - now: The time.
    ///   - counts: Counts what is left out.
    /// - Returns: Whether it is sent.
    @inline(__always)
    mutating func admits(
        _ packet: borrowing Packet, _ translation: Translation?, _ ports: IPPacket.Ports?,
        at interfaceIndex: UInt32, isSampled: Bool, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) -> Bool {
        if isEverything || isSampled && cutoff == nil { return true }
        return look(
            at: packet, translation, ports, at: interfaceIndex, isSampled: isSampled, now, &counts)
    }

    @inline(never)
    private mutating func look(
        at packet: borrowing Packet, _ translation: Translation?, _ ports: IPPacket.Ports?,
        at interfaceIndex: UInt32, isSampled: Bool, _ now: MonotonicTime,
        _ counts: inout BlockCounts
    ) -> Bool {
        // What is no IP belongs to no flow.
        guard var headers = Headers(packet.bytes).packet else { return true }
        if let ports { headers.ports = ports }
        let flow = FlowKey(of: headers, in: packet.bytes, reportedWith: translation)
        if !isSampled, let sample, !sample.contains(flow) {
            counts.flowSampledOutCount += 1
            return false
        }
        guard cutoff != nil,
            let content = FlowCutoff.Content(
                headers, in: packet.bytes, wireByteCount: packet.details.wireByteCount)
        else { return true }
        // Programs punt what has been translated, and what has more headers.
        let canProgramDrop = translation == nil && headers.isPlain
        let isAdmitted =
            cutoff?.admits(flow, content, at: canProgramDrop ? interfaceIndex : nil, now: now)
            ?? true
        if !isAdmitted { counts.cutOffCount += 1 }
        return isAdmitted
    }
}

extension IPPacket {
    /// Whether the transport's header is right behind one of IP without options.
    fileprivate var isPlain: Bool {
        let byteCount =
            switch source.family {
            case .ipv4: IPv4Header.byteCount
            case .ipv6: IPv6Header.byteCount
            }
        return transportOffset == EthernetHeader.byteCount + byteCount
    }
}

extension SelectionSettings {
    /// The sample of flows; nil for all of them.
    var sample: FlowSample? { flowSampleCount.map { FlowSample(oneIn: $0) } }
}
