import Addressing
import Edges
import Explain
import Netlink
import Settings

/// The frames of a file, at any times and in any order, as `podwire explain --file` counts them.
///
/// Each frame stands behind its time and a byte with its length. The time is a step from the time
/// before, or any that a file can have. Every frame is counted once: as a row, or as a stranger.
enum ExplainTarget {
    static let target = FuzzTarget(
        "explain", "frames of a file with their times, as `podwire explain` counts them",
        byteCountMax: 2048, check)

    private static let node: Node = {
        var table = EdgeTable()
        var bridge = Link(index: 3)
        (bridge.name, bridge.kind, bridge.mac) = (
            "cni0", "bridge", MACAddress(value: 0x0200_0000_0001)
        )
        table.apply(.link(bridge))
        table.reset(
            addresses: [
                InterfaceAddress(
                    interfaceIndex: 3, address: IPAddress(ipv4: 0x0af4_0101), prefixBitCount: 24)
            ], routes: [])
        for index in 10...11 as ClosedRange<UInt32> {
            var link = Link(index: index)
            (link.name, link.kind, link.isUp) = ("v\(index)", "veth", true)
            (link.peerIndex, link.peerNamespace, link.master) = (2, Int32(index), 3)
            table.apply(.link(link))
            let pod = EdgeTable.Pod(
                addresses: [
                    IPAddress(ipv4: 0x0af4_0100 + index - 8),
                    IPAddress(ipv6High: 0xfd00_0010_0244_0001, low: UInt64(index - 8)),
                ], mac: MACAddress(value: 0x0200_0000_0000 + UInt64(index)))
            table.set(pod, behind: index)
        }
        return table.node(EdgeSelection(podNetworks: settings.podNetworks))
    }()

    private static let settings = RuleSettings(
        podNetworks: ["10.244.0.0/16", "fd00:10:244::/56"].compactMap { IPNetwork($0) },
        serviceNetworks: ["10.96.0.0/16", "fd00:10:96::/112"].compactMap { IPNetwork($0) },
        uncovered: [])
    private static let frameCountMax = 32

    private static func check(_ bytes: [UInt8]) throws(BrokenLaw) {
        var input = FuzzInput(bytes)
        let explainer = Explainer(
            node, settings, sensors: [IPAddress(ipv4: 0xc0a8_6464)], flows: FlowLookup([]))
        let edge = input.byte() & 1 == 0 ? nil : node.edges.first
        var explanation = FileExplanation(explainer, at: edge)
        var (nanoseconds, count): (UInt64, Int) = (0, 0)
        while !input.isAtEnd, count < frameCountMax {
            let step = input.byte()
            nanoseconds =
                step == 255 ? input.number() : nanoseconds &+ UInt64(step) &* 20_000_000
            nanoseconds &= CapturesTarget.nanosecondsMax
            explanation.add(input.take(Int(input.byte())), nanoseconds: nanoseconds)
            count += 1
        }
        explanation.end()
        let counted = explanation.counts.values.reduce(explanation.strangerCount, +)
        try require(
            explanation.frameCount == count && counted == count,
            "\(counted) of \(count) frames are counted")
        for row in explanation.unanswered.sortedRows {
            try require(row.count > 0 && row.count <= count, "\(row)")
        }
    }
}
