import Addressing
import Flows
import Formats
import Testing

@Suite("Lists of conversations")
struct ConversationListTests {
    private static let names = ["10.0.0.1": "shop/front-7d9f", "10.0.0.9": "shop/api-0"]

    /// Three clients of one service, with one, two and three packets a second, and a name server.
    private static func table() throws -> ConversationTable {
        var table = ConversationTable()
        for (client, count) in [("10.0.0.1", 1), ("10.0.0.2", 2), ("10.0.0.3", 3)] {
            for second in 1...4 {
                for _ in 0..<count {
                    try add(
                        client, "10.0.0.9", 6, ports: (40000, 80), second * 1_000_000_000,
                        to: &table)
                }
            }
        }
        try add("10.0.0.1", "10.0.0.53", 17, ports: (4000, 53), 9_000_000_000, to: &table)
        return table
    }

    private static func add(
        _ client: String, _ service: String, _ transport: UInt8, ports: (UInt16, UInt16),
        _ nanoseconds: Int, to table: inout ConversationTable
    ) throws {
        let addresses = try [client, service].flatMap { try #require(IPAddress($0)).bytes }
        let portBytes = [ports.0, ports.1].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
        let frame =
            [UInt8](repeating: 2, count: 12) + [8, 0]
            + [0x45, 0, 0, 40, 0, 0, 0, 0, 64, transport, 0, 0] + addresses + portBytes
            + [UInt8](repeating: 0, count: 16)
        table.add(frame.wire, wireByteCount: 125_000, nanoseconds: UInt64(nanoseconds))
    }

    private static func list(
        _ filter: [String] = [], by order: ConversationList.Order = .bytes
    ) throws -> ConversationList {
        let known = try Dictionary(
            uniqueKeysWithValues: names.map { (try #require(IPAddress($0)), $1) })
        return ConversationList(
            try table(), names: known, filter: filter, by: order, since: nil)
    }

    @Test(
        "have the same rows first, however few of them are wanted",
        arguments: ConversationList.Order.allCases)
    func few(order: ConversationList.Order) throws {
        let all = try Self.list(by: order)
        for count in 1...all.rows.count {
            let some = ConversationList(
                try Self.table(), names: [:], by: order, countMax: count, since: nil)
            // Names are another order than addresses.
            if order != .client, order != .service {
                #expect(
                    some.rows.map(\.conversation) == all.rows.prefix(count).map(\.conversation))
            }
            #expect(some.rows.count == count && some.matchCount == all.matchCount)
        }
    }

    @Test(
        "always have the column that they are sorted by",
        arguments: ["FIRST", "REQUESTS", "UNANSWERED", "REFUSED"])
    func sortedColumn(title: String) throws {
        let order = try #require(ConversationList.Order(rawValue: title.lowercased()))
        let text = ConversationText(try Self.list(by: order)) { "\($0)" }
        #expect(text.text(in: Window(width: 60), lineCountMax: 4).contains(title))
    }

    @Test("have names where they are known, and are sorted by bytes")
    func order() throws {
        let list = try Self.list()
        #expect(
            list.rows.map(\.client) == [
                "10.0.0.3", "10.0.0.2", "shop/front-7d9f", "shop/front-7d9f",
            ])
        #expect(list.rows.map(\.service).last == "10.0.0.53:53/udp")
        #expect(list.rows[0].service == "shop/api-0:80/tcp")
        // Twelve packets of a megabit in three seconds.
        #expect(list.rows[0].bitsPerSecond == 4_000_000)
    }

    @Test(
        "are sorted by what is asked for",
        arguments: [
            (.last, "10.0.0.53:53/udp"), (.packets, "shop/api-0:80/tcp"),
            (.service, "10.0.0.53:53/udp"), (.rate, "shop/api-0:80/tcp"),
        ] as [(ConversationList.Order, String)])
    func orders(order: ConversationList.Order, first: String) throws {
        #expect(try Self.list(by: order).rows.first?.service == first)
    }

    @Test(
        "have the rows in which all words are",
        arguments: [
            (["shop"], 4), (["FRONT"], 2), (["front", "udp"], 1), ([":80/"], 3), (["10.0.0.9"], 3),
            (["nobody"], 0), ([], 4),
        ])
    func filter(words: [String], count: Int) throws {
        let list = try Self.list(words)
        #expect(list.rows.count == count && list.filteredCount == 4 - count)
    }

    @Test(
        "fit any width, and lose what is least missed",
        arguments: [1, 20, 30, 50, 72, 80, 100, 200])
    func width(width: Int) throws {
        let text = ConversationText(try Self.list()) { "\($0 / 1_000_000_000) s" }
            .text(in: Window(width: width), lineCountMax: 4)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        #expect(lines.count == 4)
        #expect(lines.allSatisfy { $0.count <= width })
        if width >= 50 { #expect(text.contains("BYTES") && text.contains("api-0:80/tcp")) }
        if width >= 100 { #expect(text.contains("FIRST") && !text.contains("REFUSED")) }
    }

    @Test("have numbers to the right, and names cut in the middle")
    func layout() throws {
        let text = ConversationText(try Self.list()) { "\($0 / 1_000_000_000)s" }
        #expect(
            text.text(in: Window(width: 200)) == """
                CLIENT           SERVICE                BYTES        RATE  PACKETS  REQUESTS  LAST  FIRST
                10.0.0.3         shop/api-0:80/tcp    1.4 MiB  4.0 Mbit/s       12         0    4s     1s
                10.0.0.2         shop/api-0:80/tcp  976.5 KiB  2.6 Mbit/s        8         0    4s     1s
                shop/front-7d9f  shop/api-0:80/tcp  488.2 KiB  1.3 Mbit/s        4         0    4s     1s
                shop/front-7d9f  10.0.0.53:53/udp   122.0 KiB  1.0 Mbit/s        1         0    9s     9s

                """)
        #expect(
            text.text(in: Window(width: 36), lineCountMax: 4) == """
                CLIENT       SERVICE           BYTES
                10.0.0.3     shop…:80/tcp    1.4 MiB
                10.0.0.2     shop…:80/tcp  976.5 KiB
                … and 2 more

                """)
    }
}
