import Addressing
import Collector
import RPCAP
import Testing
import Time

@Suite("A table of names")
struct NameTableTests {
    private let peer = IPAddress(ipv4: 0xc000_0201)

    private func pods(_ texts: String...) -> [OfferedPod] {
        texts.compactMap { OfferedPod(Device(name: "v", description: "the pod \($0)")) }
    }

    private func names(_ entries: [NameTable.Entry]) -> [String] {
        entries.map { "\($0.address) \($0.hostName)\($0.to.map { " to \($0)" } ?? "")" }
    }

    @Test("has what is new, what has changed, and what has ended")
    func changes() {
        var table = NameTable()
        let first = pods("shop/web at 10.0.0.1, fd00::1", "shop/db at 10.0.0.2")
        #expect(
            names(table.record(first, of: "a", "a", at: peer, now: .zero, clock: 1))
                == ["10.0.0.1 web.shop", "fd00::1 web.shop", "10.0.0.2 db.shop"])
        #expect(table.record(first, of: "a", "a", at: peer, now: .zero, clock: 2).isEmpty)
        let version = table.version
        let second = pods("shop/web-2 at 10.0.0.1", "shop/db at 10.0.0.2")
        #expect(
            names(table.record(second, of: "a", "a", at: peer, now: .zero, clock: 3)) == [
                "10.0.0.1 web-2.shop"
            ])
        #expect(table.version > version)
        #expect(
            names(table.all) == [
                "10.0.0.1 web-2.shop", "10.0.0.2 db.shop", "fd00::1 web.shop to 3",
            ])
        #expect(table.all.map(\.from) == [3, 1, 1])
        // It comes back.
        #expect(names(table.record(first, of: "a", "a", at: peer, now: .zero, clock: 4)).count == 2)
    }

    @Test("leaves an address to the agent that has named it, until that is long ago")
    func taken() {
        var table = NameTable()
        _ = table.record(pods("shop/web at 10.0.0.1"), of: "a", "a", at: peer, now: .zero, clock: 1)
        let liar = pods("x/y at 10.0.0.1")
        let soon = MonotonicTime.zero + NameTable.holdTime
        #expect(table.record(liar, of: "b", "b", at: peer, now: soon, clock: 2).isEmpty)
        #expect(table.counts.taken == 1 && names(table.all) == ["10.0.0.1 web.shop"])
        let late = soon + .seconds(1)
        table.expire(now: late, clock: 3)
        #expect(names(table.all) == ["10.0.0.1 web.shop to 3"])
        #expect(
            names(table.record(liar, of: "b", "b", at: peer, now: late, clock: 4)) == [
                "10.0.0.1 y.x"
            ])
        // What the first one says now is not believed in turn, and ends nothing.
        #expect(
            table.record(pods("shop/web at 10.0.0.1"), of: "a", "a", at: peer, now: late, clock: 5)
                .isEmpty)
        #expect(table.record([], of: "b", "b", at: peer, now: late, clock: 6).isEmpty)
        #expect(names(table.all) == ["10.0.0.1 y.x"] && table.counts.taken == 2)
    }

    @Test(
        "names no address that is not one pod's",
        arguments: [
            "127.0.0.1", "::1", "fe80::1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "::",
            "ff02::1",
        ])
    func others(address: String) {
        var table = NameTable()
        #expect(
            table.record(pods("a/b at \(address)"), of: "a", "a", at: peer, now: .zero, clock: 1)
                .isEmpty)
    }

    @Test("has room for all agents, whatever one of them says")
    func bounds() {
        var table = NameTable()
        let many = (0..<3000).flatMap {
            pods("a/p\($0) at 10.0.\($0 / 250).\($0 % 250), fd00::\($0 + 1)")
        }
        #expect(
            table.record(many, of: "a", "a", at: peer, now: .zero, clock: 1).count
                == NameTable.agentCountMax)
        #expect(table.counts.notKept == UInt64(6000 - NameTable.agentCountMax))
        #expect(
            table.record(pods("a/b at 10.9.9.9"), of: "b", "b", at: peer, now: .zero, clock: 1)
                .count == 1)
    }

    @Test("makes room for new names by those that have ended, and keeps others where they are")
    func full() {
        var table = NameTable()
        for agent in 0..<NameTable.countMax / NameTable.agentCountMax {
            let many = (0..<NameTable.agentCountMax).flatMap {
                pods("a/p at 10.\(agent).\($0 / 250).\($0 % 250)")
            }
            // Each is in a network of its own.
            let changes = table.record(
                many, of: "x", "\(agent)", at: IPAddress(ipv4: UInt32(agent)), now: .zero, clock: 1)
            #expect(changes.count == NameTable.agentCountMax)
        }
        let more = pods("a/b at 10.200.0.1", "a/b at 10.200.0.2")
        #expect(table.record(more, of: "m", "m", at: peer, now: .zero, clock: 2).isEmpty)
        #expect(table.counts.notKept == 2)
        _ = table.record(
            pods("a/p at 10.0.0.0"), of: "x", "0", at: IPAddress(ipv4: 0), now: .zero, clock: 3)
        #expect(table.record(more, of: "m", "m", at: peer, now: .zero, clock: 4).count == 2)
        #expect(table.all.count == NameTable.countMax - NameTable.agentCountMax + 3)
    }

    @Test("has room for other networks, however many agents one of them has")
    func networks() {
        var table = NameTable()
        var count = 0
        for agent in 0..<20 {
            let many = (0..<2000).flatMap { pods("a/p at 10.\(agent).\($0 / 250).\($0 % 250)") }
            count += table.record(many, of: "x", "\(agent)", at: peer, now: .zero, clock: 1).count
        }
        #expect(count == NameTable.networkCountMax)
    }

    @Test("is written in forms that other programs read")
    func forms() {
        var table = NameTable()
        _ = table.record(
            pods("shop/web at 10.0.0.1", "shop/db at fd00::2"), of: "node1", "node1", at: peer,
            now: .zero,
            clock: 1_700_000_000_123_456_789)
        _ = table.record(
            pods("shop/web at 10.0.0.1"), of: "node1", "node1", at: peer, now: .zero,
            clock: 1_700_000_001_000_000_000)
        #expect(
            Inventory.hosts(table.all) == """
                # Pods, by podwire collect
                10.0.0.1\tweb.shop\t# from 2023-11-14T22:13:20.123Z
                # fd00::2\tdb.shop\t# from 2023-11-14T22:13:20.123Z to 2023-11-14T22:13:21.000Z

                """)
        #expect(
            Inventory.objects(table.all) == """
                {"ip": "10.0.0.1", "pod": "web", "namespace": "shop", "agent": "node1", \
                "from": "2023-11-14T22:13:20.123Z", "to": null}
                {"ip": "fd00::2", "pod": "db", "namespace": "shop", "agent": "node1", \
                "from": "2023-11-14T22:13:20.123Z", "to": "2023-11-14T22:13:21.000Z"}

                """)
        #expect(
            Inventory.table(table.all) == """
                #fields\tip\tpod\tnamespace\tagent\tfrom_time\tto_time
                10.0.0.1\tweb\tshop\tnode1\t1700000000.123456\t-
                fd00::2\tdb\tshop\tnode1\t1700000000.123456\t1700000001.000000

                """)
    }
}
