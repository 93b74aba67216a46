import Addressing
import Observation
import PacketRing
import Time

/// Frames to or from a MAC address that nobody knows yet, with copies of their bytes.
///
/// They wait for the node's events. A bridge learns a new guest's address from its first frame, and
/// the answer to that comes sooner than the event about it.
struct HeldStrangers {
    private var frames: [Frame] = []
    private var cells = FrameCells(byteCount: byteCountMax, countMax: countMax)
    /// The number of bytes in all frames.
    private(set) var byteCount = 0

    /// The most frames that are held, in at most half a megabyte of memory.
    static let countMax = 256
    /// The longest frame that is held: one of an ordinary MTU.
    static let byteCountMax = 2048
    /// The longest time that a frame is held.
    ///
    /// Events come within milliseconds; pods are asked anew meanwhile.
    static let ageMax = Duration.milliseconds(250)

    /// A frame, and where it was seen.
    struct Frame {
        /// The address that is not known.
        let mac: MACAddress
        let expiresAt: MonotonicTime
        /// The edge at which it was seen.
        let point: ObservationPoint
        /// The counters of that edge.
        let counters: EdgeTally
        fileprivate let details: Packet.Details
        fileprivate let cell: Int32
        fileprivate let byteCount: Int
    }

    /// The number of frames.
    var count: Int { frames.count }

    /// Keeps a frame.
    ///
    /// - Returns: False if there is no room for it.
    mutating func hold(
        _ packet: borrowing Packet, until mac: MACAddress, at point: ObservationPoint,
        _ counters: EdgeTally, now: MonotonicTime
    ) -> Bool {
        let byteCount = packet.bytes.byteCount
        guard let cell = cells.store(packet.bytes) else { return false }
        self.byteCount += byteCount
        frames.append(
            Frame(
                mac: mac, expiresAt: now + Self.ageMax, point: point, counters: counters,
                details: packet.details, cell: cell, byteCount: byteCount))
        return true
    }

    /// Removes the oldest frame that meets a condition, and returns it.
    mutating func take(where isWanted: (Frame) -> Bool) -> Frame? {
        guard let index = frames.firstIndex(where: isWanted) else { return nil }
        let frame = frames.remove(at: index)
        cells.giveBack(frame.cell)
        byteCount -= frame.byteCount
        return frame
    }

    /// The packet of the frame that was removed last; the next `hold` may overwrite it.
    @_lifetime(borrow self)
    func packet(_ frame: Frame) -> Packet {
        Packet(frame.details, cells.bytes(frame.cell, frame.byteCount))
    }
}
