import Addressing
import Packets

/// The addresses that are pods' by their networks, as the fast path compares them.
///
/// A frame that comes to a pod from another pod of its bridge is decided by the kernel only if both
/// ends are pods by their networks (`EdgeProgramWriter.writeKeep`). Plain numbers again, since
/// retaining arrays takes long. It may say no where the program says yes: that only takes longer.
struct PodRanges: Sendable {
    private var ipv4 = [4 of Range](repeating: Range())
    private var ipv6 = [4 of Range](repeating: Range())
    private var ipv4Count = 0
    private var ipv6Count = 0
    /// A bit for each hash of a node address in the pod networks (a Bloom filter of one hash).
    private var nodes = [32 of UInt64](repeating: 0)
    /// The uncovered networks, whose addresses are no pods.
    private var uncovered = [4 of Range](repeating: Range())
    private var uncoveredCount = 0
    /// Whether something of the rule does not fit the numbers above.
    private var isFull = false

    /// The addresses that equal a value under a mask, in halves; the upper one of IPv4 is 0.
    private struct Range {
        var maskHigh: UInt64 = 0
        var maskLow: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
        var isIPv4 = false

        init() {}

        init(_ network: IPNetwork) {
            (maskHigh, maskLow) = (network.mask.high, network.mask.low)
            (high, low) = (network.address.high, network.address.low)
            isIPv4 = network.family == .ipv4
        }

        @inline(__always)
        func contains(_ high: UInt64, _ low: UInt64) -> Bool {
            high & maskHigh == self.high && low & maskLow == self.low
        }
    }

    init(_ rule: Rule) {
        for network in rule.addressPlan.podNetworks {
            switch network.family {
            case .ipv4 where ipv4Count < ipv4.count:
                ipv4[ipv4Count] = Range(network)
                ipv4Count += 1
            case .ipv6 where ipv6Count < ipv6.count:
                ipv6[ipv6Count] = Range(network)
                ipv6Count += 1
            case .ipv4, .ipv6: isFull = true
            }
        }
        for network in rule.addressPlan.uncovered {
            guard uncoveredCount < uncovered.count else {
                isFull = true
                break
            }
            uncovered[uncoveredCount] = Range(network)
            uncoveredCount += 1
        }
        for address in rule.nodeAddressesInPodNetworks {
            let hash = Self.hash(address.high, address.low)
            nodes[hash >> 6] |= 1 << UInt64(hash & 63)
        }
    }

    /// Whether both ends of a frame are surely pods by their networks, if it is an IP packet's.
    func containBothEnds(_ frame: RawSpan) -> Bool {
        if isFull || frame.byteCount < PlainFrame.IPv4.transport { return false }
        if frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4 {
            return contains(
                0, UInt64(frame.uint32(at: PlainFrame.IPv4.source)), isIPv4: true)
                && contains(
                    0, UInt64(frame.uint32(at: PlainFrame.IPv4.destination)), isIPv4: true)
        }
        guard frame.byteCount >= PlainFrame.IPv6.transport else { return false }
        let (source, destination) = (PlainFrame.IPv6.source, PlainFrame.IPv6.destination)
        return contains(frame.uint64(at: source), frame.uint64(at: source + 8), isIPv4: false)
            && contains(
                frame.uint64(at: destination), frame.uint64(at: destination + 8), isIPv4: false)
    }

    private func contains(_ high: UInt64, _ low: UInt64, isIPv4: Bool) -> Bool {
        var isInside = false
        if isIPv4 {
            for index in 0..<ipv4Count where ipv4[index].contains(high, low) { isInside = true }
        } else {
            for index in 0..<ipv6Count where ipv6[index].contains(high, low) { isInside = true }
        }
        guard isInside else { return false }
        for index in 0..<uncoveredCount
        where uncovered[index].isIPv4 == isIPv4 && uncovered[index].contains(high, low) {
            return false
        }
        let hash = Self.hash(high, low)
        return nodes[hash >> 6] & 1 << UInt64(hash & 63) == 0
    }

    /// Returns a number of eleven bits, by Fibonacci hashing.
    @inline(__always)
    private static func hash(_ high: UInt64, _ low: UInt64) -> Int {
        Int(((high ^ low) &* 0x9e37_79b9_7f4a_7c15) >> 53)
    }
}
