import Addressing
import Packets

/// The MAC addresses of an edge, as the fast path compares them.
///
/// Plain numbers, since retaining arrays for each frame takes long.
package struct EdgeMACs: Sendable {
    /// Whether frames may be flooded copies, or pass two edges of one bridge.
    package let areCompared: Bool
    /// Whether all frames towards the pod are the pod's, whatever their destination.
    private let ownsAll: Bool
    /// The pod's first addresses.
    private var own = [4 of UInt64](repeating: .max)
    private let bridge: UInt64
    /// Whether the source does not matter.
    private let ignoresSource: Bool

    /// An edge where nothing is flooded.
    package init() {
        areCompared = false
        ownsAll = true
        bridge = .max
        ignoresSource = true
    }

    /// The part of an edge that the fast path needs.
    package init(_ point: ObservationPoint) {
        areCompared = point.bridge != nil
        ownsAll = point.podMAC == nil
        bridge = point.bridgeMAC?.value ?? .max
        ignoresSource = point.bridgeMAC == nil
        guard let podMAC = point.podMAC else { return }
        own[0] = podMAC.value
        for (index, mac) in point.otherMACs.prefix(own.count - 1).enumerated() {
            own[index + 1] = mac.value
        }
    }

    /// Whether a frame towards the pod is known to be the pod's.
    ///
    /// It has a whole Ethernet header.
    @inline(__always)
    func own(_ frame: RawSpan) -> Bool {
        if ownsAll { return true }
        let destination = frame.uint64(at: EthernetHeader.destination) >> 16
        return destination == own[0] || destination == own[1] || destination == own[2]
            || destination == own[3]
    }

    /// Whether the node itself sent the frame, which no other edge has seen then.
    ///
    /// True as well where the source does not show it.
    @inline(__always)
    func isFromNode(_ frame: RawSpan) -> Bool {
        ignoresSource || MACAddress(frame, at: EthernetHeader.source).value == bridge
    }
}
