import Linux
import RPCAP
import Time

/// What stands between the agents and the outputs: all agents' packets, in the order of their stamps.
///
/// It belongs to the collector's thread.
struct PacketMerge: ~Copyable {
    /// Nil if packets go out in the order in which they come.
    private var order: TimeOrder?
    /// The devices by their lanes.
    private var devices: [SourceCounters] = []

    /// Creates a merge.
    ///
    /// - Parameter window: The time for which packets wait for earlier ones; nil for none.
    /// - Throws: The kernel's reason if there is no address space.
    init(window: Duration?) throws(SystemError) {
        order = if let window { try TimeOrder(window: window) } else { nil }
    }

    /// What happened to packets that are not in their place.
    var counts: TimeOrder.Counts {
        switch order {
        case .some(let order): order.counts
        case nil: TimeOrder.Counts()
        }
    }

    /// When to call `advance` and `release` at the latest; nil for never.
    var deadline: MonotonicTime? {
        switch order {
        case .some(let order): order.deadline
        case nil: nil
        }
    }

    /// Records the time.
    mutating func advance(now: MonotonicTime) {
        order?.advance(now: now, clock: wallClockNanoseconds())
    }

    /// Adds a packet; calls `body` with those that have to go out for it.
    mutating func add(
        _ frame: RawSpan, _ record: PacketRecord, of device: SourceCounters,
        _ body: (RawSpan, PacketRecord, SourceCounters) -> Void
    ) {
        guard order != nil else { return body(frame, record, device) }
        let lane = device.lane ?? addLane(device)
        if order?.addInPlace(frame, record, lane: lane) ?? false { return }
        order?.add(frame, record, lane: lane) { [devices] frame, record, lane in
            body(frame, record, devices[Int(lane)])
        }
    }

    /// Gives out packets that are due.
    ///
    /// - Returns: Whether more are due, since what was given out should be written first.
    mutating func release(_ body: (RawSpan, PacketRecord, SourceCounters) -> Void) -> Bool {
        order?.release { [devices] frame, record, lane in
            body(frame, record, devices[Int(lane)])
        } ?? false
    }

    /// Gives out packets whether they are due or not.
    ///
    /// - Returns: Whether there are more, since what was given out should be written first.
    mutating func releaseMore(_ body: (RawSpan, PacketRecord, SourceCounters) -> Void) -> Bool {
        order?.releaseMore { [devices] frame, record, lane in
            body(frame, record, devices[Int(lane)])
        } ?? false
    }

    /// Has each device know how many of its packets have not gone out.
    func countWaiting() {
        switch order {
        case .some(let order):
            for (lane, device) in devices.enumerated() {
                device.waitingCount = UInt64(order.heldCount(of: UInt32(lane)))
            }
        case nil: break
        }
    }

    /// Gives a device a lane.
    ///
    /// A lane of a device that was forgotten is used again, so there are no more than devices.
    private mutating func addLane(_ device: SourceCounters) -> UInt32 {
        let free = devices.firstIndex { $0.isForgotten }
        let lane = free ?? devices.count
        if free == nil {
            devices.append(device)
        } else {
            devices[lane] = device
        }
        device.lane = UInt32(lane)
        return UInt32(lane)
    }
}
