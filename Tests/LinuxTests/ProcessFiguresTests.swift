import Linux
import Testing

@Suite("The figures of a process")
struct ProcessFiguresTests {
    private static let units = ProcessFigures.Units(
        ticksPerSecond: 100, pageByteCount: 4096, bootSeconds: 1_700_000_000)
    private static let rest =
        "S 1 7 7 0 -1 4194560 900 0 3 0 150 50 0 0 20 0 12 0 4250 123456789 1000 18446744073709551615"

    @Test(
        "are read behind a name with spaces and parentheses", arguments: ["podwire", "a) S (b c"])
    func stat(name: String) throws {
        let figures = try #require(
            ProcessFigures(stat: "7 (\(name)) \(Self.rest)\n", Self.units))
        #expect(figures.cpuSeconds == 2)
        #expect(figures.startSeconds == 1_700_000_042.5)
        #expect(figures.virtualByteCount == 123_456_789)
        #expect(figures.residentByteCount == 4_096_000)
        #expect(figures.threadCount == 12)
    }

    @Test(
        "are not read from another text", arguments: ["", "7 (podwire)", "7 (podwire) S 1 7", "7"])
    func otherText(text: String) {
        #expect(ProcessFigures(stat: text, Self.units) == nil)
    }

    @Test("have the boot time of /proc/stat")
    func boot() {
        #expect(ProcessFigures.bootSeconds(stat: "cpu 1 2\nbtime 17\nprocesses 4\n") == 17)
        #expect(ProcessFigures.bootSeconds(stat: "cpu 1 2\n") == nil)
    }
}
