import Forwarding
import Testing

@Suite("A set of packets")
struct PacketSetTests {
    /// How many of these there is room for.
    private static func insert(_ identities: [UInt64], into set: inout PacketSet) -> Int {
        var count = 0
        for identity in identities where set.insert(identity) { count += 1 }
        return count
    }

    /// How many of these were there.
    private static func remove(_ identities: [UInt64], from set: inout PacketSet) -> Int {
        var count = 0
        for identity in identities where set.remove(identity) { count += 1 }
        return count
    }

    @Test("gives back each packet as often as it was put in", arguments: [1, 7, 64])
    func multiset(times: Int) {
        var set = PacketSet(countMax: 1000)
        // Neighbours, those that are far apart, and the ends of what there is.
        let identities: [UInt64] = [0, 1, 2, 3, 1 << 32, 1 << 63, .max - 1, .max]
        for _ in 0..<times {
            let count = Self.insert(identities, into: &set)
            #expect(count == identities.count)
        }
        // In the set the first two are as the next two.
        for _ in 0..<times {
            let count = Self.remove(identities.reversed(), from: &set)
            #expect(count == identities.count)
        }
        let rest = Self.remove(identities, from: &set)
        #expect(rest == 0)
    }

    @Test("knows only what was put in")
    func strangers() {
        var set = PacketSet(countMax: 1000)
        var generator = SystemRandomNumberGenerator()
        let identities = (0..<1000).map { _ in generator.next() | 1 << 20 }
        let counts = [
            Self.insert(identities, into: &set),
            Self.remove(identities.map { $0 ^ 1 << 20 }, from: &set),
            Self.remove(identities, from: &set),
        ]
        #expect(counts == [1000, 0, 1000])
    }

    @Test("says when it is full, and finds what it has")
    func full() {
        var set = PacketSet(countMax: 100)
        let identities = (0..<100).map { UInt64($0 * 256 + 1024) }
        let counts = [
            Self.insert(identities, into: &set), Self.insert([7], into: &set),
            Self.remove([7], from: &set), Self.remove(identities, from: &set),
        ]
        #expect(counts == [100, 0, 0, 100])
    }
}
