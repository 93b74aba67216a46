import Collector
import Testing
import Time

@Suite("The table of sources")
struct SourceTableTests {
    @Test("has one set of counters for a device, and another for another link type")
    func devices() throws {
        var table = SourceTable(hasFile: true)
        func counters(
            _ linkType: UInt16, taken: [SourceCounters] = []
        ) throws -> SourceCounters {
            try table.makeCounters(named: "lo@h", description: "", linkType: linkType) { counters in
                taken.contains { $0 === counters }
            }
        }
        let first = try counters(1)
        let (again, other) = (try counters(1), try counters(113))
        #expect(first === again && first !== other)
        // A second agent of the same name while the first one captures, and a third.
        let second = try counters(1, taken: [first])
        let third = try counters(1, taken: [first, second])
        #expect([second, third].map { $0.statistics(now: .zero).name } == ["lo@h#2", "lo@h#3"])
        // The next agent has the place of the one that has gone.
        let next = try counters(1, taken: [first, third])
        #expect(next === second)
    }

    @Test("has the last description of a device, whose pod may be another one by now")
    func descriptions() throws {
        var table = SourceTable(hasFile: true)
        func counters(_ description: String) throws -> SourceCounters {
            try table.makeCounters(named: "veth1@h", description: description, linkType: 1)
        }
        let before = try counters("the pod shop/db-0 at 10.244.1.2")
        let after = try counters("the pod shop/db-0 at 10.244.1.9")
        #expect(before === after && after.description == "the pod shop/db-0 at 10.244.1.9")
    }

    @Test("gives the places of devices that are gone to new ones", arguments: [false, true])
    func reuse(hasFile: Bool) throws {
        var table = SourceTable(hasFile: hasFile)
        func counters(_ number: Int) throws -> SourceCounters {
            try table.makeCounters(named: "lo@\(number)", description: "", linkType: 1)
        }
        let all = try (0..<SourceTable.countMax).map { try counters($0) }
        for device in all { device.begin(now: .zero) }
        #expect(throws: SourceTable.Full.self) { try counters(-1) }
        for device in all[1...] { device.end(.gone, now: .zero) }
        if hasFile {
            // Their statistics belong in the file when it is completed.
            #expect(throws: SourceTable.Full.self) { try counters(-1) }
            for device in all { device.beginFile() }
        }
        let new = try counters(-1)
        #expect(!all.contains { $0 === new })
        let forgotten = table.takeForgotten()
        #expect(forgotten.count == 1 && forgotten[0] === all[1])
        // The one that captures keeps its place; the first one that is gone has lost it.
        #expect(try counters(0) === all[0])
        #expect(try counters(2) === all[2])
        #expect(try counters(1) !== all[1])
    }
}
