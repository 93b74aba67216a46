import Addressing
import Edges
import Netlink
import Observation
import Settings
import Testing
import Time

/// Pods that change their addresses without end.
@Suite("The budget for changes of pods")
struct PodChangeBudgetTests {
    private static let selection = EdgeSelection()
    private static let begin = MonotonicTime.zero + .seconds(100)

    private static func table() -> EdgeTable {
        var table = EdgeTable()
        var bridge = Link(index: 3)
        bridge.kind = "bridge"
        table.apply(.link(bridge))
        for index in [7, 8] as [UInt32] {
            var link = Link(index: index)
            (link.name, link.kind, link.master) = ("l\(index)", "veth", 3)
            (link.peerIndex, link.peerNamespace) = (2, Int32(index))
            table.apply(.link(link))
        }
        return table
    }

    private static func pod(_ number: UInt32) -> EdgeTable.Pod {
        EdgeTable.Pod(addresses: [IPAddress(ipv4: number)], mac: nil)
    }

    @Test("lets few changes a second through, and the last one within half a second")
    func addresses() {
        var (table, budget) = (Self.table(), PodChangeBudget())
        var (node, changeCount, postponedCount) = (table.node(Self.selection), 0, 0)
        let note = { (table: EdgeTable) in
            let next = table.node(Self.selection)
            if next != node { (node, changeCount) = (next, changeCount + 1) }
        }
        // Ten seconds, a change every 10 ms.
        for turn in 0..<1000 as Range<UInt32> {
            let now = Self.begin + .milliseconds(10) * Int(turn)
            let reply = NodeReply.pod(behind: 7, Self.pod(turn))
            if !budget.apply(reply, to: &table, now: now) { postponedCount += 1 }
            budget.applyDue(to: &table, now: now)
            note(table)
        }
        #expect(changeCount < 40 && postponedCount > 900)
        // The other pod has its own budget.
        let end = Self.begin + .seconds(10)
        for number in 1...5 as ClosedRange<UInt32> {
            let isApplied = budget.apply(.pod(behind: 8, Self.pod(number)), to: &table, now: end)
            #expect(isApplied && table.pod(behind: 8) == Self.pod(number))
        }
        #expect(budget.dueAt <= end + PodChangeBudget.delay)
        budget.applyDue(to: &table, now: end + PodChangeBudget.delay)
        #expect(table.pod(behind: 7) == Self.pod(999) && budget.dueAt == .distantFuture)
    }

    @Test("does not give a pod what another one had behind the same index")
    func anotherPod() {
        var (table, budget) = (Self.table(), PodChangeBudget())
        for number in 0..<50 as Range<UInt32> {
            _ = budget.apply(.pod(behind: 7, Self.pod(number)), to: &table, now: Self.begin)
        }
        table.apply(.linkGone(7))
        budget.applyDue(to: &table, now: Self.begin + PodChangeBudget.delay)
        #expect(table.pod(behind: 7) == nil)
    }

    @Test("withholds a MAC address that two pods take from each other, and no other pod's")
    func macs() {
        var (table, budget) = (Self.table(), PodChangeBudget())
        let (mac, guest) = (MACAddress(value: 0x21), MACAddress(value: 0x22))
        let learn = { (table: inout EdgeTable, mac: MACAddress, port: UInt32) in
            table.withholdForwarding()
            table.apply(.learned(ForwardingEntry(mac: mac, bridge: 3, port: port)))
            return table.takeChangedPorts()
        }
        var (node, changeCount) = (table.node(Self.selection), 0)
        for turn in 0..<1000 {
            let now = Self.begin + .milliseconds(10) * turn
            let ports = learn(&table, mac, turn % 2 == 0 ? 7 : 8)
            _ = budget.show(ports, in: &table, now: now)
            budget.applyDue(to: &table, now: now)
            let next = table.node(Self.selection)
            if next != node { (node, changeCount) = (next, changeCount + 1) }
        }
        #expect(changeCount < 150)
        var link = Link(index: 9)
        (link.kind, link.master, link.peerIndex, link.peerNamespace) = ("veth", 3, 2, 9)
        table.apply(.link(link))
        let ports = learn(&table, guest, 9)
        let isShown = budget.show(ports, in: &table, now: Self.begin + .seconds(10))
        #expect(isShown)
        #expect(table.node(Self.selection).macs.place(of: guest, on: 3) == .edge(9))
    }
}
