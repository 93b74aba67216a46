import Addressing
import Edges
import Linux
import Netlink
import Settings
import Taps
import Testing

/// Where edges are captured, by the settings, the files of namespaces and what has been proven.
@Suite("The taps of a node's edges")
struct TapTests {
    private static func pair(_ index: UInt32, kind: String = "veth", namespace: Int32 = 1) -> Link {
        var link = Link(index: index)
        (link.name, link.kind, link.isUp) = ("e\(index)", kind, true)
        (link.peerIndex, link.peerNamespace) = (2, namespace)
        return link
    }

    private static func file(_ inode: UInt64) -> NamespaceFile {
        NamespaceFile(
            path: "/run/netns/\(inode)", identity: FileIdentity(device: 4, inode: inode))
    }

    private static func listing(
        _ files: [Int32: UInt64], unnumbered: [UInt64] = [], unknown: [UInt64] = [],
        problems: [NamespaceProblem] = []
    ) -> NamespaceListing {
        NamespaceListing(
            files: files.mapValues(file), unnumbered: unnumbered.map(file),
            unknownPaths: Set(unknown.map { file($0).path }), problems: problems)
    }

    private static func taps(_ table: EdgeTable) -> [EdgeTap] {
        table.node(EdgeSelection()).edges.map(\.tap)
    }

    private static func inside(_ inode: UInt64, namespace: Int32 = 1) -> EdgeTap {
        .pod(PodTap(file: file(inode), namespaceID: namespace, podIndex: 2))
    }

    @Test("are inside pods if that is set and the pod's file is there")
    func modes() {
        for mode in TapSettings.Mode.allCases {
            var table = EdgeTable(TapPlan(mode))
            table.apply(.link(Self.pair(7)))
            #expect(Self.taps(table) == [.host])
            #expect(table.lacksNamespaces == (mode != .host))
            table.apply(Self.listing([1: 70]))
            #expect(Self.taps(table) == [mode == .pod ? Self.inside(70) : .host])
            // What comes later is found in what was listed before.
            table.apply(.link(Self.pair(8, namespace: 3)))
            table.apply(Self.listing([1: 70, 3: 80]))
            let both = [Self.inside(70), Self.inside(80, namespace: 3)]
            #expect(Self.taps(table) == (mode == .pod ? both : [.host, .host]))
            table.tapPlan.isBlind = true
            #expect(Self.taps(table) == (mode == .host ? [.host, .host] : both))
        }
    }

    @Test("of netkit pairs are inside pods, or nowhere")
    func netkit() {
        for mode in TapSettings.Mode.allCases {
            var table = EdgeTable(TapPlan(mode))
            table.apply(.link(Self.pair(7, kind: "netkit")))
            #expect(table.node(EdgeSelection()).veths.map(\.status) == [.needsPodTap])
            #expect(table.queryableIndexes == [7])
            table.apply(Self.listing([1: 70]))
            #expect(Self.taps(table) == (mode == .host ? [] : [Self.inside(70)]))
        }
    }

    @Test("end when the pod's file is gone, and not because a folder cannot be read")
    func fileGone() {
        var table = EdgeTable(TapPlan(.pod))
        table.apply(.link(Self.pair(7)))
        table.apply(Self.listing([1: 70]))
        let error = SystemError("opendir", .permissionDenied)
        table.apply(Self.listing([:], problems: [.folder("/run/netns", error)]))
        // The kernel gives up an id when no interface leads there for a moment.
        table.apply(Self.listing([:], unnumbered: [70]))
        #expect(Self.taps(table) == [Self.inside(70)])
        // A file that is there and was not looked at tells nothing about its namespace.
        table.apply(Self.listing([:], unknown: [70]))
        #expect(Self.taps(table) == [Self.inside(70)])
        table.apply(Self.listing([:], unknown: [71]))
        #expect(Self.taps(table).isEmpty)
        #expect(table.node(EdgeSelection()).veths.map(\.status) == [.namespaceGone])
        // Another pod behind the same interface is another matter.
        table.apply(.link(Self.pair(7, namespace: 5)))
        #expect(Self.taps(table) == [.host])
        table.apply(Self.listing([5: 71]))
        #expect(Self.taps(table) == [Self.inside(71, namespace: 5)])
    }

    @Test("have no MAC address of zeros, which tells no interface from another")
    func zeros() {
        var link = Link(index: 2)
        link.mac = MACAddress(value: 0)
        #expect(EdgeTable.Pod(behind: 2, [], [link]).mac == nil)
    }

    @Test(
        "move inside when packets are missed from one reading to the next",
        arguments: [
            // Missed at first, and then; carried by the pod's end meanwhile.
            (0, 10, 200, true), (0, 10, 219, true), (0, 10, 220, false), (0, 9, 9, false),
            (500, 500, 1000, false), (500, 510, 10, true), (500, 100, 1000, false),
        ] as [(UInt64, UInt64, UInt64, Bool)])
    func proof(first: UInt64, then: UInt64, carried: UInt64, isProven: Bool) {
        var proof = BypassProof()
        func counters(_ missed: UInt64, _ carried: UInt64) -> [UInt64: PairCounters] {
            [
                3: PairCounters(
                    Self.pair(7),
                    pod: LinkCounters(receivedPacketCount: carried, sentPacketCount: 1),
                    host: LinkCounters(
                        receivedPacketCount: 1, sentPacketCount: carried - missed))
            ]
        }
        #expect(proof.record(counters(first, 1000)).isEmpty)
        let found = proof.record(counters(then, 1000 + carried))
        #expect(found.map(\.missedCount) == (isProven ? [then - first] : []))
        // The same counts again prove nothing.
        #expect(proof.record(counters(then, 1000 + carried)).isEmpty)
    }

    @Test("of netkit pairs are judged by what pods send")
    func netkitCounters() {
        let pair = PairCounters(
            Self.pair(7, kind: "netkit"),
            pod: LinkCounters(receivedPacketCount: 5, sentPacketCount: 37),
            host: LinkCounters(receivedPacketCount: 2, sentPacketCount: 5))
        #expect(pair.missedCount == 35 && pair.carriedCount == 37)
    }
}
