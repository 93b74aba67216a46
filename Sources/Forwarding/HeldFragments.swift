import PacketRing
import Addressing
import Packets
import Observation

/// Pieces of datagrams that came before the first one, which alone says where they belong. They are
/// kept for as long as a reordering on the way can take, in memory that is set aside when the first
/// of them comes.
struct HeldFragments {
    /// In the order in which they came.
    private var pieces: [Piece] = []
    private var memory: [UInt8] = []
    private var freeSlots: [Int] = []
    /// How many bytes the pieces have together.
    private(set) var byteCount = 0

    /// How many pieces are held at most; what comes beside them is not.
    private let countMax: Int

    /// Enough for the rest of five datagrams of 64 KiB.
    static let countMax = 256
    /// Jumbo frames fit. No wire makes larger pieces.
    static let byteCountMax = 9216
    /// No reordering takes longer; the first piece is lost.
    private static let ageNanoseconds: UInt64 = 1_000_000_000

    /// A piece and where it was seen.
    struct Piece {
        fileprivate let datagram: DatagramKey
        fileprivate let heldAt: UInt64
        fileprivate let slot: Int
        fileprivate let byteCount: Int
        fileprivate let details: Packet.Details
        let point: ObservationPoint
        /// Where it is counted.
        let account: FrameCounters
    }

    init(countMax: Int = Self.countMax) {
        self.countMax = countMax
    }

    var count: Int { pieces.count }

    /// Keeps a piece. Answers false if there is no room for it.
    mutating func hold(
        _ packet: borrowing Packet, of datagram: DatagramKey, at point: ObservationPoint,
        _ account: FrameCounters, now: UInt64
    ) -> Bool {
        let byteCount = packet.bytes.byteCount
        guard byteCount <= Self.byteCountMax, pieces.count < countMax else { return false }
        if memory.isEmpty { setMemoryAside() }
        let slot = freeSlots.removeLast()
        for index in 0..<byteCount {
            memory[slot * Self.byteCountMax + index] = packet.bytes.uint8(at: index)
        }
        self.byteCount += byteCount
        pieces.append(
            Piece(
                datagram: datagram, heldAt: now, slot: slot, byteCount: byteCount,
                details: packet.details, point: point, account: account))
        return true
    }

    private mutating func setMemoryAside() {
        memory = Array(repeating: 0, count: countMax * Self.byteCountMax)
        freeSlots = Array(0..<countMax)
        pieces.reserveCapacity(countMax)
    }

    /// Lets go of the first piece of a datagram.
    mutating func take(of datagram: DatagramKey) -> Piece? {
        pieces.firstIndex { $0.datagram == datagram }.map { take(at: $0) }
    }

    /// Lets go of the first piece that is counted there.
    mutating func take(of account: FrameCounters) -> Piece? {
        pieces.firstIndex { $0.account === account }.map { take(at: $0) }
    }

    /// Lets go of the first piece that has been held for too long, or of any.
    mutating func takeExpired(now: UInt64, orAny: Bool) -> Piece? {
        guard let first = pieces.first, orAny || now >= first.heldAt + Self.ageNanoseconds else {
            return nil
        }
        return take(at: 0)
    }

    private mutating func take(at index: Int) -> Piece {
        let piece = pieces.remove(at: index)
        freeSlots.append(piece.slot)
        byteCount -= piece.byteCount
        return piece
    }

    /// The packet of a piece that was let go last; the next one that is held may take its place.
    @_lifetime(borrow self)
    func packet(_ piece: Piece) -> Packet {
        let start = piece.slot * Self.byteCountMax
        return Packet(
            piece.details, memory.wire.extracting(start..<start + piece.byteCount))
    }
}
