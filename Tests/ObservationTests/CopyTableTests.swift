import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 3, group frames: the copies that a bridge makes of one frame.
@Suite("Copies of a frame")
struct CopyTableTests {
    private static let millisecond: UInt64 = 1_000_000
    private static let start: UInt64 = 1_700_000_000_000_000_000

    /// A copy of a frame at an edge, at a time in microseconds.
    private struct Copy {
        var edge: UInt32
        var time: UInt64
        var frame = CopyTableTests.frame()
    }

    private static func frame(_ payload: [UInt8] = [1, 2, 3, 4], checksum: UInt16 = 0) -> [UInt8] {
        var ports = Frame.ports(5353, 5353)
        ports.replaceSubrange(6..<8, with: [UInt8(checksum >> 8), UInt8(checksum & 0xff)])
        return Frame.ethernet(
            to: mac("01:00:5e:00:00:fb"), from: Site.bridgeMAC, type: EtherType.ipv4,
            Frame.ip(
                from: Site.node4, to: address("224.0.0.251"), protocol: 17, ports + payload))
    }

    private static func point(_ edge: UInt32, bridge: UInt32? = Site.bridge) -> ObservationPoint {
        ObservationPoint(
            interfaceIndex: edge, podMAC: Site.aMAC, bridge: bridge,
            domain: ObservationPoint.Domain([]))
    }

    /// Which of some copies are reported, in the order in which rings are read.
    private static func reported(
        _ copies: [Copy], _ table: inout CopyTable, bridge: UInt32? = Site.bridge
    ) -> [Bool] {
        copies.map { copy in
            table.recordsFirst(
                copy.frame.wire, byteCount: copy.frame.count,
                at: point(copy.edge, bridge: bridge), stamp: start + copy.time * 1000,
                now: Site.begin)
        }
    }

    private static func reported(_ copies: [Copy]) -> [Bool] {
        var table = CopyTable()
        return reported(copies, &table)
    }

    @Test("are reported once, whichever ring is read first")
    func once() {
        #expect(
            Self.reported([Copy(edge: 11, time: 0), Copy(edge: 12, time: 3)]) == [true, false])
        #expect(
            Self.reported([Copy(edge: 12, time: 3), Copy(edge: 11, time: 0)]) == [true, false])
    }

    @Test("are others' if the bytes, the length or the bridge differ")
    func others() {
        var table = CopyTable()
        let frame = Self.frame()
        #expect(Self.reported([Copy(edge: 11, time: 0)], &table) == [true])
        #expect(Self.reported([Copy(edge: 12, time: 1)], &table, bridge: 99) == [true])
        for other in [Self.frame([1, 2, 3, 5]), frame + [0], Array(frame.dropLast())] {
            #expect(Self.reported([Copy(edge: 12, time: 1, frame: other)], &table) == [true])
        }
        #expect(Self.reported([Copy(edge: 12, time: 1)], &table) == [false])
        // Where nothing is flooded, each frame is one.
        #expect(Self.reported([Copy(edge: 12, time: 1)], &table, bridge: nil) == [true])
    }

    @Test("are the same with and without a finished checksum")
    func checksums() {
        let finished = Copy(edge: 12, time: 1, frame: Self.frame(checksum: 0x1234))
        #expect(Self.reported([Copy(edge: 11, time: 0), finished]) == [true, false])
    }

    @Test("of a frame that is sent again are a second frame")
    func again() {
        let times: [UInt64] = [0, 5, 900, 901, 5000]
        let first = times.map { Copy(edge: 11, time: $0) }
        let second = times.map { Copy(edge: 12, time: $0 + 40) }
        let both = first + second
        #expect(Self.reported(both).filter { $0 }.count == times.count)
        #expect(Self.reported(second + first).filter { $0 }.count == times.count)
        let turns = zip(first, second).flatMap { [$0, $1] }
        #expect(Self.reported(turns).filter { $0 }.count == times.count)
        // At one edge alone nothing is a copy.
        #expect(Self.reported(first) == times.map { _ in true })
    }

    @Test("of a thousand equal frames are a thousand frames, in blocks of any size")
    func burst() {
        for blockCount in [1, 7, 64, 1000] {
            var table = CopyTable()
            var count = 0
            for start in stride(from: 0, to: 1000, by: blockCount) {
                for edge in [12, 11, 13] as [UInt32] {
                    let copies = (start..<min(1000, start + blockCount)).map {
                        Copy(edge: edge, time: UInt64($0) * 3 + UInt64(edge))
                    }
                    count += Self.reported(copies, &table).count { $0 }
                }
            }
            #expect(count == 1000, "blocks of \(blockCount)")
        }
    }

    @Test("of frames that only some edges get are reported at those")
    func members() {
        // The first edge lost the second frame, and the second edge the first one.
        let far = 20_000 as UInt64
        let copies = [
            Copy(edge: 11, time: 0), Copy(edge: 12, time: far), Copy(edge: 13, time: 1),
            Copy(edge: 13, time: far + 1),
        ]
        #expect(Self.reported(copies) == [true, true, false, false])
        // What comes late is put in its place.
        let late = [
            Copy(edge: 11, time: 0), Copy(edge: 11, time: 2 * far), Copy(edge: 12, time: 0),
            Copy(edge: 12, time: far), Copy(edge: 12, time: 2 * far), Copy(edge: 13, time: 0),
            Copy(edge: 13, time: far), Copy(edge: 13, time: 2 * far),
        ]
        #expect(
            Self.reported(late) == [true, true, false, true, false, false, false, false])
    }

    @Test("are told by their time stamps, not by when they are read")
    func window() {
        var table = CopyTable()
        let window = CopyTable.window / 1000
        #expect(Self.reported([Copy(edge: 11, time: 0)], &table) == [true])
        #expect(Self.reported([Copy(edge: 12, time: window)], &table) == [false])
        #expect(Self.reported([Copy(edge: 13, time: window + 1)], &table) == [true])
    }

    @Test("are forgotten when there are too many, which is counted")
    func bound() {
        var table = CopyTable()
        let count = CopyTable.frameCountMax + 10
        for number in 0..<count {
            let payload = [UInt8(number >> 8 & 0xff), UInt8(number & 0xff)]
            let copy = Copy(edge: 11, time: 0, frame: Self.frame(payload))
            #expect(Self.reported([copy], &table) == [true])
        }
        #expect(table.evictedCount > 0)
        let last = Copy(
            edge: 12, time: 1,
            frame: Self.frame([UInt8((count - 1) >> 8), UInt8((count - 1) & 0xff)])
        )
        #expect(Self.reported([last], &table) == [false])
        // One content that comes for ever keeps its place.
        for number in 0..<UInt64(3 * CopyTable.frameCountMax) {
            let copies = [11, 12].map { Copy(edge: $0, time: number * 1000) }
            #expect(Self.reported(copies, &table) == [true, false])
        }
    }
}
