import Forwarding
import RPCAP
import Testing

@Suite("A sampler")
struct SamplerTests {
    /// Times in milliseconds, and which of them are kept.
    static let tables: [(name: String, sampling: Sampling, times: [UInt64], kept: [Int])] = [
        ("none", .none, [5, 5, 1], [0, 1, 2]),
        ("one in two", .onePacketIn(2), [1, 2, 3, 4, 5], [0, 2, 4]),
        ("one in three", .onePacketIn(3), [9, 9, 9, 9, 9, 9, 9], [0, 3, 6]),
        ("one in all", .onePacketIn(.max), [1, 2, 3], [0]),
        ("one in one", .onePacketIn(1), [1, 2, 3], [0, 1, 2]),
        ("one in 10 ms", .onePacketPerMilliseconds(10), [0, 9, 10, 11, 19, 20, 45], [0, 2, 5, 6]),
        (
            "edges whose blocks come one after the other", .onePacketPerMilliseconds(100),
            [10, 15, 20, 5, 12, 19, 105, 110, 101, 115], [0, 7]
        ),
        (
            "edges in intervals shorter than their blocks", .onePacketPerMilliseconds(5),
            [0, 5, 10, 15, 20, 0, 5, 10, 15, 20, 25], [0, 1, 2, 3, 4, 10]
        ),
        (
            "a clock that is set back", .onePacketPerMilliseconds(100),
            [50_000, 50_050, 1000, 1050, 1100, 1150], [0, 2, 4]
        ),
        (
            "a clock that is set back by less", .onePacketPerMilliseconds(100),
            [5000, 4950, 5040, 5100], [0, 3]
        ),
    ]

    @Test("keeps the first of each lot", arguments: 0..<tables.count)
    func table(row: Int) {
        let (name, sampling, times, kept) = Self.tables[row]
        var sampler = Sampler(sampling)
        let seen = times.indices.filter { index in
            sampler.admit(nanosecondsSince1970: times[index] * 1_000_000)
        }
        #expect(seen == kept, "\(name)")
    }
}
