import Addressing
package import Packets
import Time

/// A fragmented datagram as one edge sees it in one direction.
///
/// Edges see the pieces in orders of their own: connection tracking puts them in order on their way.
package struct EdgeDatagram: Hashable, Sendable {
    package let datagram: DatagramKey
    package let interfaceIndex: UInt32
    package let direction: Direction

    package init(_ datagram: DatagramKey, atEdge interfaceIndex: UInt32, _ direction: Direction) {
        self.datagram = datagram
        self.interfaceIndex = interfaceIndex
        self.direction = direction
    }

    /// The longest time for which a piece waits for others, which is that of the kernel.
    ///
    /// These are the defaults of `ipfrag_time` and of `ip6frag_time`.
    package var timeMax: Duration { isIPv6 ? Self.timeMax : .seconds(30) }

    static let timeMax = Duration.seconds(60)

    package var isIPv6: Bool { datagram.source.family == .ipv6 }
}

/// The fragmented datagrams under way, with their ports and the pieces that have come.
///
/// It is what step 7 remembers. Identifications are used again, so a datagram ends where the next one
/// under the same key begins: with a first fragment, or with a piece that the datagram already has.
struct DatagramTable: Sendable {
    private var datagrams = BoundedTable<EdgeDatagram, Datagram>(
        countMax: SlowPath.datagramCountMax, age: EdgeDatagram.timeMax)

    /// The longest time by which a piece that fills its place may be ahead of the first fragment.
    ///
    /// If a first fragment is lost, the rest waits for the next datagram under the same key. It must
    /// not take the place of that one's own pieces, which would wait as well, and so on without end.
    private static let leadMax = Duration.seconds(1)

    private struct Datagram: Sendable {
        let ports: IPPacket.Ports?
        let expiresAt: MonotonicTime
        var pieces: FragmentSet
    }

    /// What is known of a fragment's datagram.
    enum Place: Equatable {
        /// It is the first fragment, which has the ports itself.
        case first
        /// It belongs to the datagram whose first fragment had these ports.
        case later(IPPacket.Ports?)
        /// The first fragment has not come.
        case beforeFirst
        /// It repeats a piece of the datagram with these ports, or belongs to the next one.
        case again(IPPacket.Ports?)
    }

    var count: Int { datagrams.count }

    /// The number of datagrams that were forgotten for lack of room.
    var evictedCount: UInt64 { datagrams.evictedCount }

    /// Finds a fragment's place; `add` has to be called when the fragment is decided about.
    func place(
        of fragment: IPPacket.Fragment, in datagram: EdgeDatagram, now: MonotonicTime
    ) -> Place {
        if fragment.byteOffset == 0 { return .first }
        guard let known = datagrams.value(for: datagram, now: now), now < known.expiresAt else {
            return .beforeFirst
        }
        return known.pieces.canTake(fragment) ? .later(known.ports) : .again(known.ports)
    }

    /// Adds a fragment to its datagram; the first one begins the datagram anew.
    ///
    /// - Parameters:
    ///   - fragment: Its part of the datagram.
    ///   - ports: The ports in a first fragment.
    ///   - datagram: Its datagram.
    ///   - waited: The time for which it has waited for the first fragment.
    ///   - now: The time now.
    mutating func add(
        _ fragment: IPPacket.Fragment, _ ports: IPPacket.Ports?, to datagram: EdgeDatagram,
        waited: Duration, now: MonotonicTime
    ) {
        if fragment.byteOffset == 0 {
            var pieces = FragmentSet()
            pieces.add(fragment)
            datagrams.set(
                Datagram(ports: ports, expiresAt: now + datagram.timeMax, pieces: pieces),
                for: datagram, now: now)
        } else if waited <= Self.leadMax {
            datagrams.update(datagram) { known in
                if known.pieces.canTake(fragment) { known.pieces.add(fragment) }
            }
        }
    }
}

/// The pieces of one datagram that have come, in units of eight bytes.
struct FragmentSet: Sendable {
    /// Ranges that neither overlap nor touch, in no order.
    private var ranges = [16 of Range](repeating: Range(start: 0, end: 0))
    private var rangeCount: UInt8 = 0
    private var end: UInt16?

    /// The most ranges that are remembered, which the shuffled pieces of 64 KiB seldom exceed.
    ///
    /// A piece beyond them is forgotten: its datagram is never whole, and ends with the next first
    /// fragment.
    private static let rangeCountMax = 16

    private struct Range: Sendable {
        var start: UInt16
        var end: UInt16
    }

    /// Whether a piece may belong to the datagram: it has something new, and does not contradict.
    func canTake(_ fragment: IPPacket.Fragment) -> Bool {
        let piece = Self.range(of: fragment)
        if let end, fragment.isLast ? piece.end != end : piece.end > end { return false }
        for index in 0..<Int(rangeCount) {
            let range = ranges[index]
            if fragment.isLast, end == nil, range.end > piece.end { return false }
            if range.start <= piece.start, piece.end <= range.end, piece.start < piece.end {
                return false
            }
        }
        return !isWhole
    }

    /// Whether all pieces have come.
    private var isWhole: Bool {
        rangeCount == 1 && ranges[0].start == 0 && ranges[0].end == end
    }

    mutating func add(_ fragment: IPPacket.Fragment) {
        var piece = Self.range(of: fragment)
        if fragment.isLast { end = piece.end }
        guard piece.start < piece.end else { return }
        var kept = 0
        for index in 0..<Int(rangeCount) {
            let range = ranges[index]
            if range.end < piece.start || piece.end < range.start {
                ranges[kept] = range
                kept += 1
            } else {
                piece.start = min(piece.start, range.start)
                piece.end = max(piece.end, range.end)
            }
        }
        if kept < Self.rangeCountMax {
            ranges[kept] = piece
            kept += 1
        }
        rangeCount = UInt8(kept)
    }

    /// The units that a piece fills; only the last one of a datagram may fill a part of one.
    private static func range(of fragment: IPPacket.Fragment) -> Range {
        let end = fragment.byteOffset + fragment.byteCount + (fragment.isLast ? 7 : 0)
        return Range(start: UInt16(fragment.byteOffset / 8), end: UInt16(end / 8))
    }
}
