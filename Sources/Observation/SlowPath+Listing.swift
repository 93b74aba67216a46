package import Addressing
import Packets
package import Time

/// Flows that are listed, because they began when nobody listened.
extension SlowPath {
    /// Stores a flow that is found when a capture begins, if there is room for it.
    ///
    /// A flow without room is looked up when its packets come. That is so only if its front is known:
    /// so all fronts are learned, however many flows there are. It is no call of the time of the capture:
    /// of that, calls are counted.
    package mutating func learn(
        listed flow: TrackedFlow, _ room: inout ListingRoom, now: MonotonicTime
    ) {
        if rule.addressPlan.isService(flow.original.destination) {
            if room.takeServiceFlow(flow.original.source.family) {
                learn(toService: flow, now: now)
            }
        } else if fronts.learn(flow, rule.addressPlan, now: now), room.takeFrontFlow() {
            store(flow, now: now)
        }
    }

    /// Learns the front of a flow whose event may have been lost.
    ///
    /// The flow itself is looked up when its packets come.
    package mutating func learnFront(of flow: TrackedFlow, now: MonotonicTime) {
        _ = fronts.learn(flow, rule.addressPlan, now: now)
    }
}

/// The room that a first listing has in the table of flows, by kind and family.
///
/// A crowd of one kind must not keep the others out. Together the shares are the whole table.
package struct ListingRoom: Sendable {
    private var serviceFlowRooms: (ipv4: Int, ipv6: Int)
    private var frontFlowRoom: Int

    package init() {
        frontFlowRoom = SlowPath.flowCountMax / 4
        let rest = SlowPath.flowCountMax - frontFlowRoom
        serviceFlowRooms = (rest / 2, rest / 2)
    }

    mutating func takeServiceFlow(_ family: IPAddress.Family) -> Bool {
        family == .ipv4 ? Self.take(&serviceFlowRooms.ipv4) : Self.take(&serviceFlowRooms.ipv6)
    }

    mutating func takeFrontFlow() -> Bool { Self.take(&frontFlowRoom) }

    private static func take(_ room: inout Int) -> Bool {
        guard room > 0 else { return false }
        room -= 1
        return true
    }
}
