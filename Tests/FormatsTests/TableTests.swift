import Formats
import Testing

@Suite("A table of text")
struct TableTests {
    private static let sentence = "one end is not a pod: only this edge sees it"

    private static func edges(_ rows: [[Table.Cell]]) -> Table {
        Table([.word("EDGE"), .sentence("WHY")], rows)
    }

    /// A table with each form of columns.
    private static let agents: Table = {
        var table = Table([
            .name("AGENT"), .text("DEVICE", rank: 2), .word("STATE"), .number("PACKETS"),
            .number("SINCE", rank: 1),
        ])
        for number in 1...30 {
            table.append([
                "node-\(number).west.example.org:2002", "eth0 of a machine", "capturing",
                "\(number * 1000)", "\(number) s",
            ])
        }
        table.total = ["total", "", "", "465000", ""]
        return table
    }()

    private static func lines(_ text: String) -> [Substring] {
        text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
    }

    @Test("is as wide as its cells where it fits")
    func fits() {
        let table = Self.edges([["va", Table.Cell(Self.sentence)]])
        #expect(table.text(in: .unlimited) == "EDGE  WHY\nva    \(Self.sentence)\n")
        #expect(table.text(in: Window(width: 50)) == table.text(in: .unlimited))
    }

    @Test("has numbers to the right, and no spaces at the ends of its lines")
    func numbers() {
        let table = Table(
            [.word("A"), .number("COUNT"), .word("B"), .word("C")],
            [["long", "7", "x", ""], ["y", "10000", "wide", "end"]])
        #expect(
            table.text(in: .unlimited) == """
                A     COUNT  B     C
                long      7  x
                y     10000  wide  end

                """)
    }

    @Test("breaks sentences between words, beside the other columns")
    func beside() {
        let table = Self.edges([["va", Table.Cell(Self.sentence)], ["vb", "no"]])
        #expect(
            table.text(in: Window(width: 40)) == """
                EDGE  WHY
                va    one end is not a pod: only this
                      edge sees it
                vb    no

                """)
    }

    @Test("has sentences below their rows if the others leave no room")
    func below() {
        let table = Self.edges([["va", Table.Cell(Self.sentence)], ["vb", ""]])
        #expect(
            table.text(in: Window(width: 37)) == """
                EDGE
                va
                    one end is not a pod: only this
                    edge sees it
                vb

                """)
    }

    @Test("cuts names in the middle, and leaves out what is missed least")
    func narrow() {
        let lines = { (width: Int) in
            Self.lines(Self.agents.text(in: Window(width: width))).prefix(2).map(String.init)
        }
        #expect(
            lines(86) == [
                "AGENT                          DEVICE             STATE      PACKETS  SINCE",
                "node-1.west.example.org:2002   eth0 of a machine  capturing     1000    1 s",
            ])
        #expect(
            lines(68) == [
                "AGENT                   DEVICE             STATE      PACKETS  SINCE",
                "node-1.west…e.org:2002  eth0 of a machine  capturing     1000    1 s",
            ])
        #expect(
            lines(50) == [
                "AGENT                          STATE      PACKETS",
                "node-1.west.example.org:2002   capturing     1000",
            ])
    }

    @Test("fits any width, with and without sentences", arguments: 1...300)
    func width(width: Int) {
        let sentences = Self.edges([
            ["veth0123456789a", Table.Cell(Self.sentence)], ["vb", "immeasurableimmeasurable"],
        ])
        for table in [Self.agents, sentences] {
            let lines = Self.lines(table.text(in: Window(width: width)))
            #expect(lines.allSatisfy { $0.count <= width })
            #expect(lines.count >= 3)
        }
    }

    @Test("fits any height, says how many rows are left out, and keeps its total")
    func height() {
        for count in 3...40 {
            let lines = Self.lines(Self.agents.text(in: .unlimited, lineCountMax: count))
            #expect(lines.count == min(count, 32))
            #expect(lines.last?.hasPrefix("total") == true)
            let more = lines.first { $0.hasPrefix("…") }
            #expect(more == (count < 32 ? "… and \(30 - (count - 3)) more" : nil))
        }
    }

    @Test("counts rows that were never added")
    func further() {
        var table = Self.edges([["va", "no"]])
        table.furtherRowCount = 4
        #expect(
            table.text(in: .unlimited, hint: "--json has all")
                == "EDGE  WHY\nva    no\n… and 4 more; --json has all\n")
    }

    @Test("has weight and colours in a window that has them, which cost no width")
    func colors() {
        let table = Table([.word("A"), .word("B")], [[Table.Cell("x", .bad), "y"]])
        let text = table.text(in: Window(width: 4, hasColors: true))
        #expect(text == "\u{1b}[1mA\u{1b}[0m  \u{1b}[1mB\u{1b}[0m\n\u{1b}[1;31mx\u{1b}[0m  y\n")
        #expect(table.text(in: Window(width: 4)) == "A  B\nx  y\n")
    }

    @Test("shows no control sequence of a cell")
    func hostile() {
        let table = Table([.word("A")], [["\u{1b}[2J"]])
        #expect(table.text(in: .unlimited) == "A\n?[2J\n")
    }
}
