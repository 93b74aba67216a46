import Addressing
import Packets

/// A few networks as plain numbers.
///
/// Retaining the arrays of a rule for each frame takes longer than all else that is done to it. So does
/// copying this value, which is why it is no optional.
struct PlainNetworks: Sendable {
    /// Whether there was room for all networks.
    private(set) var isComplete = true
    private var ipv4 = [4 of Range32](repeating: Range32())
    private var ipv6 = [4 of Range128](repeating: Range128())
    private var ipv4Count = 0
    private var ipv6Count = 0

    /// The IPv4 addresses that equal `value` under a mask.
    private struct Range32 {
        var mask: UInt32 = 0
        var value: UInt32 = 0
    }

    /// The IPv6 addresses that equal a value under a mask, in halves.
    private struct Range128 {
        var maskHigh: UInt64 = 0
        var maskLow: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
    }

    init(_ networks: [IPNetwork]) {
        for network in networks { isComplete = add(network) && isComplete }
    }

    private mutating func add(_ network: IPNetwork) -> Bool {
        switch network.family {
        case .ipv4:
            guard ipv4Count < ipv4.count else { return false }
            ipv4[ipv4Count] = Range32(
                mask: UInt32(truncatingIfNeeded: network.mask.low),
                value: UInt32(truncatingIfNeeded: network.address.low))
            ipv4Count += 1
        case .ipv6:
            guard ipv6Count < ipv6.count else { return false }
            ipv6[ipv6Count] = Range128(
                maskHigh: network.mask.high, maskLow: network.mask.low,
                high: network.address.high, low: network.address.low)
            ipv6Count += 1
        }
        return true
    }

    @inline(__always)
    func contain(_ ipv4Address: UInt32) -> Bool {
        for index in 0..<ipv4Count where ipv4Address & ipv4[index].mask == ipv4[index].value {
            return true
        }
        return false
    }

    /// Whether one of two addresses is in a network.
    @inline(__always)
    func contain(_ ipv4Address: UInt32, or other: UInt32) -> Bool {
        for index in 0..<ipv4Count {
            let range = ipv4[index]
            if ipv4Address & range.mask == range.value || other & range.mask == range.value {
                return true
            }
        }
        return false
    }

    @inline(__always)
    func contain(_ high: UInt64, _ low: UInt64) -> Bool {
        for index in 0..<ipv6Count
        where high & ipv6[index].maskHigh == ipv6[index].high
            && low & ipv6[index].maskLow == ipv6[index].low
        {
            return true
        }
        return false
    }

    @inline(__always)
    func contain(_ address: IPAddress) -> Bool {
        switch address.family {
        case .ipv4: contain(UInt32(truncatingIfNeeded: address.low))
        case .ipv6: contain(address.high, address.low)
        }
    }
}

/// The addresses that are pods' by their networks, where no rule has to be asked.
///
/// Pods outside the pod networks are not among them: packets with their addresses go through
/// `SlowPath`.
struct PlainPods: Sendable {
    private let pods: PlainNetworks
    private let uncovered: PlainNetworks
    private let nodes: AddressTable
    private let nodeBits: AddressBits
    /// Whether there was room for all networks; if not, nothing can be said of an address.
    let isComplete: Bool

    init(_ rule: Rule) {
        pods = PlainNetworks(rule.addressPlan.podNetworks)
        uncovered = PlainNetworks(rule.addressPlan.uncovered)
        isComplete = pods.isComplete && uncovered.isComplete
        var bits = AddressBits()
        for address in rule.nodeAddressesInPodNetworks { bits.insert(address.low) }
        nodeBits = bits
        nodes = AddressTable(
            Dictionary(rule.nodeAddressesInPodNetworks.map { ($0, 0) }) { first, _ in first })
    }

    /// Never inlined: all of the numbers would be loaded before the first is compared.
    @inline(never)
    func contains(_ address: IPAddress) -> Bool {
        pods.contain(address) && !uncovered.contain(address)
            && (!nodeBits.contain(address.low) || nodes[address] == nil)
    }

    /// Whether both ends of a frame are pods, if it is an IP packet's.
    ///
    /// A frame that comes to a pod from another pod of its bridge is decided by the kernel only then
    /// (`EdgeProgramWriter.writeKeep`).
    func containBothEnds(_ frame: RawSpan) -> Bool {
        let isIPv4 =
            frame.byteCount >= PlainFrame.IPv4.transport
            && frame.uint16(at: EthernetHeader.etherType) == EtherType.ipv4
        guard isComplete, isIPv4 || frame.byteCount >= PlainFrame.IPv6.transport else {
            return false
        }
        let (family, source): (IPAddress.Family, Int) =
            isIPv4 ? (.ipv4, PlainFrame.IPv4.source) : (.ipv6, PlainFrame.IPv6.source)
        return contains(IPAddress(family, frame, at: source))
            && contains(IPAddress(family, frame, at: source + family.byteCount))
    }
}
