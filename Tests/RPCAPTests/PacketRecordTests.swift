import Addressing
import RPCAP
import Testing

@Suite("The rest of a stream of packets")
struct PacketRecordTests {
    private static func stream(_ byteCounts: [Int], from first: UInt32) -> [UInt8] {
        var stream: [UInt8] = []
        for (index, byteCount) in byteCounts.enumerated() {
            var header = [UInt8](repeating: 0, count: PacketRecord.headerByteCount)
            var span = header.mutableSpan
            var bytes = unsafe span.mutableBytes
            PacketRecord.store(
                into: &bytes, nanoseconds: 1_700_000_000_123_456_789, byteCount: byteCount,
                wireByteCount: byteCount, number: first &+ UInt32(index))
            stream += header
            // A frame that looks as if it were headers.
            stream += (0..<byteCount).map { $0 < 28 ? header[$0] : 0 }
        }
        return stream
    }

    @Test("has so many of them, wherever it begins", arguments: [1, 7, UInt32.max - 1] as [UInt32])
    func count(first: UInt32) {
        let byteCounts = [60, 0, 28, 1500, 61, 29]
        let stream = Self.stream(byteCounts, from: first)
        let last = first &+ UInt32(byteCounts.count - 1)
        var start = 0
        for (index, byteCount) in byteCounts.enumerated() {
            let end = start + PacketRecord.headerByteCount + byteCount
            for offset in start..<end {
                let rest = Array(stream[offset...])
                let count = PacketRecord.count(in: rest.wire, endingWith: last)
                #expect(count == byteCounts.count - index, "\(offset)")
            }
            start = end
        }
        #expect(PacketRecord.count(in: [UInt8]().wire, endingWith: last) == 0)
    }
}
