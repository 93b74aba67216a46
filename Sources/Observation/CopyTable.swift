import Addressing
import Packets
package import Time

/// The frames of which a bridge has sent copies to several edges, so that each is reported once.
///
/// A bridge sends a group frame to each port that is up, and where it snoops or filters only to
/// members of the group or the VLAN. Which ports these are cannot be known for sure. So the copy
/// that comes out of a ring first is reported, and the others are not. The same frame may have been
/// sent twice on purpose: at each edge, the second copy is that of the second frame. Rings are read
/// in any order, so the time stamps tell which copies belong together.
package struct CopyTable: Sendable {
    /// The frames that were reported, at the remainder of their number by `frameCountMax`.
    private var frames: [Frame] = []
    /// The number that the next frame gets; 0 stands for none.
    private var nextNumber: UInt64 = 1
    /// The frames of one content, in the order of their time stamps.
    private var chains = BoundedTable<ChainKey, Chain>(countMax: frameCountMax, age: age)
    /// The number of the frame whose copy an edge saw last.
    private var lastSeen = BoundedTable<EdgeKey, UInt64>(countMax: copyCountMax, age: age)
    /// The number of frames that were forgotten for lack of room, not because of their age.
    private var overwrittenCount: UInt64 = 0

    /// The most frames that are remembered: two seconds of 2,000 a second.
    package static let frameCountMax = 4096
    /// The most contents of frames at edges that are remembered: 256 frames at 250 edges.
    static let copyCountMax = 65_536
    /// How long a content is remembered after its last copy: longer than a ring waits to be read.
    static let age = Duration.seconds(2)
    private static let ageNanoseconds: UInt64 = 2_000_000_000
    /// The longest time between the stamps of two copies of one frame, in nanoseconds.
    ///
    /// A bridge makes all copies at once, but the processor may be taken away meanwhile.
    package static let window: UInt64 = 10_000_000

    private struct ChainKey: Hashable, Sendable {
        let digest: UInt64
        let bridge: UInt32
    }

    private struct EdgeKey: Hashable, Sendable {
        let digest: UInt64
        let edge: UInt32
    }

    private struct Chain: Sendable {
        var first: UInt64
        var last: UInt64
    }

    private struct Frame: Sendable {
        var number: UInt64
        let key: ChainKey
        /// When it was sent, in nanoseconds since 1970.
        let stamp: UInt64
        var previous: UInt64
        var next: UInt64
    }

    package init() {}

    /// The number of frames and copies that were forgotten for lack of room.
    package var evictedCount: UInt64 {
        overwrittenCount + chains.evictedCount + lastSeen.evictedCount
    }

    /// Records a copy of a frame at an edge.
    ///
    /// - Parameters:
    ///   - frame: The bytes of the copy.
    ///   - byteCount: The length of the frame before it was cut.
    ///   - point: The edge.
    ///   - stamp: When the kernel saw the copy, in nanoseconds since 1970.
    ///   - now: The time of the forwarder.
    /// - Returns: Whether no other edge has had a copy of the same frame before.
    package mutating func recordsFirst(
        _ frame: RawSpan, byteCount: Int, at point: ObservationPoint, stamp: UInt64,
        now: MonotonicTime
    ) -> Bool {
        guard let bridge = point.bridge else { return true }
        let digest = Self.digest(of: frame, byteCount)
        let key = ChainKey(digest: digest, bridge: bridge)
        let edge = EdgeKey(digest: digest, edge: point.interfaceIndex)
        let chain = chains.touch(key, now: now)
        var number = next(after: lastSeen.touch(edge, now: now), in: chain, key)
        // What is older belongs to frames that did not reach this edge.
        while let frame = self.frame(number, key), frame.stamp + Self.window < stamp {
            number = frame.next
        }
        if let frame = self.frame(number, key), frame.stamp <= stamp + Self.window {
            lastSeen.set(number, for: edge, now: now)
            return false
        }
        number = append(key, stamp: stamp, to: chain, now)
        lastSeen.set(number, for: edge, now: now)
        return true
    }

    /// Returns the number of the frame that follows the one that an edge saw last.
    private func next(after last: UInt64?, in chain: Chain?, _ key: ChainKey) -> UInt64 {
        guard let chain else { return 0 }
        // A frame without a next one that is not the last is of a chain that was forgotten.
        if let last, let frame = frame(last, key), frame.next > 0 || last == chain.last {
            return frame.next
        }
        return chain.first
    }

    /// Returns the frame with a number, unless it is forgotten.
    private func frame(_ number: UInt64, _ key: ChainKey) -> Frame? {
        guard number > 0, !frames.isEmpty else { return nil }
        let frame = frames[Self.slot(number)]
        return frame.number == number && frame.key == key ? frame : nil
    }

    private static func slot(_ number: UInt64) -> Int { Int(number % UInt64(frameCountMax)) }

    /// Adds a frame to its chain, in the order of the time stamps.
    ///
    /// - Returns: The frame's number.
    private mutating func append(
        _ key: ChainKey, stamp: UInt64, to chain: Chain?, _ now: MonotonicTime
    ) -> UInt64 {
        let number = nextNumber
        nextNumber += 1
        if frames.isEmpty { setMemoryAside() }
        forget(at: Self.slot(number), before: stamp, now)
        // Forgetting may have changed the chain.
        var chain = chain == nil ? nil : chains.value(for: key, now: now)
        var (previous, next): (UInt64, UInt64) = (chain?.last ?? 0, 0)
        while let frame = frame(previous, key), frame.stamp > stamp {
            (previous, next) = (frame.previous, previous)
        }
        frames[Self.slot(number)] = Frame(
            number: number, key: key, stamp: stamp, previous: previous, next: next)
        if previous > 0 { frames[Self.slot(previous)].next = number }
        if next > 0 { frames[Self.slot(next)].previous = number }
        chain = Chain(
            first: previous > 0 ? chain?.first ?? number : number,
            last: next > 0 ? chain?.last ?? number : number)
        if let chain { chains.set(chain, for: key, now: now) }
        return number
    }

    private mutating func setMemoryAside() {
        let none = Frame(
            number: 0, key: ChainKey(digest: 0, bridge: 0), stamp: 0, previous: 0, next: 0)
        frames = Array(repeating: none, count: Self.frameCountMax)
    }

    /// Takes a frame out of its chain, because its place is needed.
    private mutating func forget(at slot: Int, before stamp: UInt64, _ now: MonotonicTime) {
        let frame = frames[slot]
        guard frame.number > 0 else { return }
        frames[slot].number = 0
        guard var chain = chains.value(for: frame.key, now: now),
            chain.first == frame.number || self.frame(frame.previous, frame.key) != nil
        else { return }
        if stamp < frame.stamp + Self.ageNanoseconds { overwrittenCount += 1 }
        if frame.previous > 0 { frames[Self.slot(frame.previous)].next = frame.next }
        if frame.next > 0 { frames[Self.slot(frame.next)].previous = frame.previous }
        if chain.first == frame.number { chain.first = frame.next }
        if chain.last == frame.number { chain.last = frame.previous }
        chains.set(chain, for: frame.key, now: now)
    }
}

extension CopyTable {
    /// Returns a hash of a frame, which is the same for all its copies.
    ///
    /// The checksum of a datagram is left out: the kernel finishes it for the copies of some devices
    /// and not of others. Frames with the same hash do no harm where all edges get both.
    static func digest(of frame: RawSpan, _ byteCount: Int) -> UInt64 {
        let skipped = checksumOffset(of: frame) ?? frame.byteCount
        var hash = add(frame, 0..<skipped, to: mix(UInt64(byteCount)))
        if skipped < frame.byteCount {
            hash = add(frame, skipped + 2..<frame.byteCount, to: hash)
        }
        return hash
    }

    private static func checksumOffset(of frame: RawSpan) -> Int? {
        guard let packet = Headers(frame).packet, packet.transport == IPProtocol.udp,
            packet.fragment == nil, let transport = packet.transportOffset,
            transport + UDPHeader.byteCount <= frame.byteCount
        else { return nil }
        return transport + UDPHeader.checksum
    }

    private static func add(_ frame: RawSpan, _ range: Range<Int>, to hash: UInt64) -> UInt64 {
        var (hash, offset) = (hash, range.lowerBound)
        while offset + 8 <= range.upperBound {
            hash = mix(hash ^ frame.uint64(at: offset))
            offset += 8
        }
        while offset < range.upperBound {
            hash = mix(hash ^ UInt64(frame.uint8(at: offset)))
            offset += 1
        }
        return hash
    }

    /// Combines both halves of a product with an odd number, which spreads every bit.
    private static func mix(_ value: UInt64) -> UInt64 {
        let product = (value ^ seed).multipliedFullWidth(by: 0xd6e8_feb8_6659_fd93)
        return product.high ^ product.low
    }

    /// Another number each time the program runs, so that nobody can make frames of one hash.
    private static let seed = UInt64.random(in: .min ... .max)
}
