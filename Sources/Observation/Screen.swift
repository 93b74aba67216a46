import Addressing

/// The first look at a frame in user space, and for most of them the only one: whether the kernel has
/// surely decided about it. What it does not clear, `Rule.mayNeedSettling` is asked about.
///
/// It is a rule's few networks as plain numbers. A rule has arrays and sets, and to hold on to them
/// for each frame took longer than everything else that is done to a frame together.
package struct Screen: Sendable {
    private var ipv4 = [4 of Range32](repeating: Range32(mask: 0, value: 0))
    private var ipv6 = [4 of Range128](repeating: Range128())
    private var ipv4Count = 0
    private var ipv6Count = 0
    /// Nothing can be cleared by networks alone.
    private var clearsNothing: Bool

    private struct Range32 {
        var mask: UInt32
        var value: UInt32
    }

    private struct Range128 {
        var maskHigh: UInt64 = 0
        var maskLow: UInt64 = 0
        var high: UInt64 = 0
        var low: UInt64 = 0
    }

    package init(_ rule: Rule) {
        clearsNothing = rule.kernelLeavesAddresses || !rule.podAddressesOutsideNetworks.isEmpty
        for network in rule.addressPlan.serviceNetworks { add(network) }
    }

    private mutating func add(_ network: IPNetwork) {
        switch network.family {
        case .ipv4:
            guard ipv4Count < ipv4.count else { return clearsNothing = true }
            ipv4[ipv4Count] = Range32(
                mask: UInt32(truncatingIfNeeded: network.mask.low),
                value: UInt32(truncatingIfNeeded: network.address.low))
            ipv4Count += 1
        case .ipv6:
            guard ipv6Count < ipv6.count else { return clearsNothing = true }
            ipv6[ipv6Count] = Range128(
                maskHigh: network.mask.high, maskLow: network.mask.low,
                high: network.address.high, low: network.address.low)
            ipv6Count += 1
        }
    }

    /// Whether the kernel has surely decided about this frame, if its program decides.
    package func clears(_ frame: RawSpan) -> Bool {
        guard !clearsNothing, let family = Rule.plainFamily(of: frame) else { return false }
        return switch family {
        case .ipv4: clears(frame.uint32(at: 26), frame.uint32(at: 30))
        case .ipv6: clearsIPv6(frame, at: 22) && clearsIPv6(frame, at: 38)
        }
    }

    private func clears(_ source: UInt32, _ destination: UInt32) -> Bool {
        for index in 0..<ipv4Count {
            let range = ipv4[index]
            if source & range.mask == range.value || destination & range.mask == range.value {
                return false
            }
        }
        return true
    }

    private func clearsIPv6(_ frame: RawSpan, at offset: Int) -> Bool {
        let (high, low) = (frame.uint64(at: offset), frame.uint64(at: offset + 8))
        for index in 0..<ipv6Count {
            let range = ipv6[index]
            if high & range.maskHigh == range.high, low & range.maskLow == range.low {
                return false
            }
        }
        return true
    }
}
