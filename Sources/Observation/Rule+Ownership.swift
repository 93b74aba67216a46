package import Addressing
import Packets

/// Step 2, ownership: whose frame it is, by its MAC addresses.
extension Rule {
    /// What a MAC address is to an edge.
    enum Owner {
        case thisEdge
        case another
        case unknown
    }

    /// Returns what a MAC address is to an edge.
    ///
    /// Where nothing can be flooded, and where the pod's own address is not known, every frame
    /// towards the pod is meant for it.
    func owner(of mac: MACAddress, at point: ObservationPoint) -> Owner {
        guard let bridge = point.bridge, point.podMAC != nil else { return .thisEdge }
        if point.has(mac) { return .thisEdge }
        switch addressPlan.macs.place(of: mac, on: bridge) {
        case .edge(point.interfaceIndex): return .thisEdge
        case .edge, .elsewhere: return .another
        case nil:
            return addressPlan.macs.isCrowded(point.interfaceIndex) ? .thisEdge : .unknown
        }
    }

    /// Whether a unicast frame towards the pod belongs to the edge.
    ///
    /// If nobody knows the MAC address, the frame belongs to the edge of its IP address. A frame from
    /// the node or from outside belongs to every edge otherwise, and its first copy is reported.
    func owns(_ headers: Headers, at point: ObservationPoint) -> Bool {
        switch owner(of: headers.destination, at: point) {
        case .thisEdge: return true
        case .another: return false
        case .unknown:
            if let index = edgeAsked(by: headers, at: point) {
                return index == point.interfaceIndex
            }
            return !isFromLocalPod(headers, at: point)
        }
    }

    /// Returns the edge of the address to which a frame goes, if that is behind one.
    private func edgeAsked(by headers: Headers, at point: ObservationPoint) -> UInt32? {
        let target = headers.packet?.destination ?? headers.neighbourTarget
        return target.flatMap(point.domain.edge(of:))
    }

    /// Whether a frame that the rule reports may have come to other edges of the bridge as well.
    ///
    /// True of group frames that no pod sent, and of unicast frames that are flooded to all ports.
    package func mayHaveCopies(
        _ frame: RawSpan, _ decision: Decision, at point: ObservationPoint,
        isToPodItself: Bool = false
    ) -> Bool {
        guard decision.isReported, deduplicates, point.bridge != nil, !isToPodItself,
            frame.byteCount >= EthernetHeader.byteCount
        else { return false }
        if decision.step == .groupFromElsewhere { return true }
        let destination = MACAddress(frame, at: EthernetHeader.destination)
        return !destination.isGroup && owner(of: destination, at: point) == .unknown
            && edgeAsked(by: Headers(frame), at: point) == nil
    }

    /// Whether a pod of this node sent a frame that goes to another one, by its source MAC address.
    func isFromLocalPod(_ headers: Headers, at point: ObservationPoint) -> Bool {
        guard let bridge = point.bridge else { return false }
        if point.has(headers.source) { return true }
        switch addressPlan.macs.place(of: headers.source, on: bridge) {
        case .edge: return true
        case .elsewhere, nil: return false
        }
    }

    /// Returns the MAC address that has to be known before a frame can be decided for good.
    ///
    /// It is the destination of a unicast frame that may be a flooded copy, or the source of a group
    /// frame that may come from a guest behind another edge. The bridge has learned it by now, or a
    /// pod has it; the node's events say so a moment later.
    ///
    /// - Returns: Nil for nearly all frames.
    package func unknownMAC(
        in frame: RawSpan, direction: Direction, at point: ObservationPoint,
        isToPodItself: Bool = false
    ) -> MACAddress? {
        guard deduplicates, direction == .toPod, point.bridge != nil,
            frame.byteCount >= EthernetHeader.byteCount
        else { return nil }
        let destination = MACAddress(frame, at: EthernetHeader.destination)
        guard destination.isGroup else {
            return !isToPodItself && owner(of: destination, at: point) == .unknown
                ? destination : nil
        }
        let source = MACAddress(frame, at: EthernetHeader.source)
        guard knowsNot(source, at: point) else { return nil }
        let decision = decision(on: frame, direction: direction, at: point)
        return decision == .report(.groupFromElsewhere) ? source : nil
    }

    /// Whether a frame that waits for a MAC address can be decided now.
    package func knows(_ mac: MACAddress, at point: ObservationPoint) -> Bool {
        !knowsNot(mac, at: point)
    }

    private func knowsNot(_ mac: MACAddress, at point: ObservationPoint) -> Bool {
        guard let bridge = point.bridge else { return false }
        return mac != point.podMAC && mac != point.bridgeMAC && mac != point.deviceMAC
            && addressPlan.macs.place(of: mac, on: bridge) == nil
    }
}
