import Edges
import Forwarding
import Linux
import Observation
import PacketRing
import Taps
import Testing
import Time

@Suite("The rings of a capture, as their manager knows them")
struct RingTableTests {
    private static let mebibyte = 1 << 20
    private static let smallest = RingBudget.smallest.byteCount
    private static let begin = MonotonicTime(nanoseconds: 100_000_000_000)

    private static func edge(
        _ incarnation: UInt64, isUp: Bool = true, frameByteCountMax: Int = 65_536
    ) -> Edge {
        Edge(
            incarnation: incarnation, name: "veth\(incarnation)", isUp: isUp,
            frameByteCountMax: frameByteCountMax,
            point: ObservationPoint(
                interfaceIndex: UInt32(incarnation), podMAC: nil,
                domain: ObservationPoint.Domain([])))
    }

    private static func edges(_ incarnations: ClosedRange<UInt64>) -> [Edge] {
        incarnations.map { edge($0) }
    }

    /// A table in which edges have their first ring.
    private static func table(_ edges: [Edge], mebibytes: Int = 256) -> RingTable {
        var table = RingTable(RingBudget(byteCountMax: mebibytes * mebibyte))
        for opening in table.takeOpenings(for: edges, now: begin).openings {
            _ = table.recordOpened(opening, nil)
        }
        return table
    }

    @Test("opens a ring for each edge that is up and has none")
    func opens() {
        var table = Self.table(Self.edges(1...3))
        #expect(!table.isEmpty && table.ringByteCount == 12 * Self.mebibyte)
        let more = Self.edges(1...4) + [Self.edge(5, isUp: false)]
        let (openings, isSharingChanged) = table.takeOpenings(for: more, now: Self.begin)
        #expect(openings.map(\.edge.incarnation) == [4])
        #expect(!isSharingChanged && !table.hasFailures)
    }

    private static func edge(_ incarnation: UInt64, inode: UInt64?) -> Edge {
        let edge = edge(incarnation)
        guard let inode else { return edge }
        let file = NamespaceFile(
            path: "/run/netns/a", identity: FileIdentity(device: 4, inode: inode))
        return Edge(
            incarnation: incarnation, name: edge.name, isUp: true, frameByteCountMax: 65_536,
            point: edge.point, tap: .pod(PodTap(file: file, namespaceID: 1, podIndex: 2)))
    }

    @Test("moves rings to the ends where edges are to be captured, a few at a time")
    func otherEnds() {
        var table = Self.table(Self.edges(1...20))
        #expect(!table.hasFailures && table.takeOtherEnds(now: Self.begin).isEmpty)
        let inside = (1...20).map { Self.edge($0, inode: 100 + $0) }
        table.record(inside)
        let used = table.budget.usedByteCount
        let changes = table.takeOtherEnds(now: Self.begin)
        #expect(changes.count == 16 && changes.allSatisfy { $0.tap.side == .pod })
        #expect(table.budget.usedByteCount > used)
        // The others follow when these have moved or failed.
        #expect(!table.hasOtherEnds(now: Self.begin) && table.hasFailures)
        #expect(table.takeOtherEnds(now: Self.begin).isEmpty)
        // What fails is tried again after a second, and then after two.
        for change in changes { table.recordOpeningFailed(change.slot) }
        let rest = table.takeOtherEnds(now: Self.begin)
        #expect(rest.count == 4)
        for change in rest { table.recordOpeningFailed(change.slot) }
        #expect(table.takeOtherEnds(now: Self.begin + .milliseconds(900)).isEmpty)
        let again = table.takeOtherEnds(now: Self.begin + .seconds(1))
        #expect(again.count == 16)
        for change in again { table.recordOpeningFailed(change.slot) }
        let late = table.takeOtherEnds(now: Self.begin + .milliseconds(2900))
        #expect(late.count == 4)
        // Where some have moved, others are tried again sooner.
        for change in late {
            table.recordReplaced(
                change.slot.edge.incarnation, nil, now: Self.begin + .milliseconds(2900))
        }
        for change in table.takeOtherEnds(now: Self.begin + .milliseconds(3900)) {
            table.recordReplaced(
                change.slot.edge.incarnation, nil, now: Self.begin + .milliseconds(3950))
        }
        #expect(table.insideCount == 20)
        table.record(Self.edges(1...20))
        #expect(table.takeOtherEnds(now: Self.begin + .seconds(5)).count == 16)
    }

    /// A table of rings at the host's ends, of edges that are to be captured inside pods.
    private static func tableToMove(_ count: UInt64, mebibytes: Int) -> RingTable {
        var table = RingTable(RingBudget(byteCountMax: mebibytes * mebibyte, hasPodTaps: true))
        for opening in table.takeOpenings(for: edges(1...count), now: begin).openings {
            _ = table.recordOpened(opening, nil)
        }
        table.record((1...count).map { edge($0, inode: 100 + $0) })
        return table
    }

    /// Moves rings as long as some are to be moved, where one moves if its new ring is large enough.
    ///
    /// - Returns: The number of times that rings were tried, and the most memory of their records.
    private static func moveAll(
        _ table: inout RingTable, blockCountMin: Int, obstacle: RingReplacement.Obstacle = .ring
    ) -> (tries: [Int], seenCountMax: Int) {
        var (tries, seenCountMax) = ([Int](), 0)
        var now = begin
        while table.hasFailures, tries.count < 200 {
            now += .milliseconds(500)
            let changes = table.takeOtherEnds(now: now)
            if changes.isEmpty { continue }
            #expect(table.budget.usedByteCount <= table.budget.byteCountMax)
            tries.append(changes.count { $0.tap.side == .pod })
            seenCountMax = max(seenCountMax, changes.reduce(0) { $0 + $1.seenCountMax })
            for change in changes {
                let incarnation = change.slot.edge.incarnation
                if change.shape.byteCount / Int(change.shape.blockByteCount) >= blockCountMin {
                    table.recordReplaced(incarnation, nil, now: now)
                } else {
                    table.cancelReplacement(incarnation, nil, because: obstacle, now: now)
                }
            }
        }
        return (tries, seenCountMax)
    }

    @Test(
        "moves every edge in few tries, with rings that are large enough or become so",
        arguments: [
            // Two grace periods of the kernel, and the time of a block, at any rate.
            (count: 16, mebibytes: 64, blocks: 8, tries: 2),
            (count: 7, mebibytes: 16, blocks: 8, tries: 6),
            (count: 100, mebibytes: 256, blocks: 8, tries: 80),
            // With 256 MiB the last one finds none, if those before it came in another order.
            (count: 16, mebibytes: 320, blocks: 64, tries: 20),
        ])
    func movesEveryEdge(_ row: (count: UInt64, mebibytes: Int, blocks: Int, tries: Int)) {
        var table = Self.tableToMove(row.count, mebibytes: row.mebibytes)
        let (tries, _) = Self.moveAll(&table, blockCountMin: row.blocks)
        #expect(table.insideCount == row.count, "\(tries)")
        #expect(tries.count <= row.tries, "\(tries)")
    }

    @Test("makes only larger what was too small, and bounds the records of all edges")
    func records() {
        var table = Self.tableToMove(16, mebibytes: 256)
        let large = Self.moveAll(&table, blockCountMin: .max, obstacle: .set)
        #expect(large.seenCountMax > 16 << 15 && large.seenCountMax <= 1 << 21)
        table = Self.tableToMove(16, mebibytes: 256)
        let small = Self.moveAll(&table, blockCountMin: .max, obstacle: .ring)
        #expect(small.seenCountMax == 16 << 15)
        #expect(small.tries.suffix(8).allSatisfy { $0 == 1 }, "\(small.tries)")
        // A queue that is full is nobody's fault.
        table = Self.tableToMove(1, mebibytes: 256)
        let change = table.takeOtherEnds(now: Self.begin)[0]
        #expect(table.cancelReplacement(1, nil, because: .busy, now: Self.begin) == nil)
        #expect(change.slot.failureCount == 0 && change.slot.notMovedCount == 0)
    }

    @Test("leaves a ring alone that has just taken over, and may hold duplicates")
    func calm() {
        var table = Self.tableToMove(1, mebibytes: 64)
        let end = Self.begin + .seconds(10)
        #expect(table.takeOtherEnds(now: Self.begin).count == 1)
        table.recordReplaced(1, nil, now: end)
        table.record([Self.edge(1, frameByteCountMax: 185_000)])
        let early = end + .milliseconds(199)
        #expect(table.relievePressure(on: 1, now: early).isEmpty)
        #expect(table.takeLargerBlocks(now: early).changes.isEmpty)
        #expect(table.takeOtherEnds(now: early).isEmpty)
        #expect(table.takeLargerBlocks(now: end + .milliseconds(200)).changes.count == 1)
    }

    private static func edge(_ incarnation: UInt64, inode: UInt64, hasHostEnd: Bool) -> Edge {
        let edge = edge(incarnation, inode: inode)
        guard let tap = edge.tap.podTap else { return edge }
        return Edge(
            incarnation: incarnation, name: edge.name, isUp: true, frameByteCountMax: 65_536,
            point: edge.point,
            tap: .pod(
                PodTap(
                    file: tap.file, namespaceID: 1, podIndex: 2, hasHostEnd: hasHostEnd)))
    }

    @Test("tries edges inside pods again each minute that share the ring, or cannot")
    func lacking() {
        var table = RingTable(RingBudget(byteCountMax: 64 * Self.mebibyte, hasPodTaps: true))
        let edges =
            [Self.edge(1)] + (2...4).map { Self.edge($0, inode: $0, hasHostEnd: true) }
            + (5...6).map { Self.edge($0, inode: $0, hasHostEnd: false) }
        func take(_ milliseconds: Int) -> ([UInt64], Bool) {
            let (openings, isChanged) = table.takeOpenings(
                for: edges, now: Self.begin + .milliseconds(milliseconds))
            opened = openings
            return (openings.map(\.edge.incarnation), isChanged)
        }
        var opened: [RingTable.Opening] = []
        func fail(_ milliseconds: Int) {
            for opening in opened {
                _ = table.recordFailure(
                    opening, .noMemory, now: Self.begin + .milliseconds(milliseconds))
            }
        }
        func openAll() {
            for opening in opened {
                _ = table.recordOpened(
                    opening, nil, at: opening.edge.tap, now: Self.begin + .seconds(120))
            }
        }
        #expect(take(0).0 == [1, 2, 3, 4, 5, 6])
        fail(0)
        // The edge at the host's end waits for a second, and then shares the ring as well.
        #expect(table.isDue(now: Self.begin))
        #expect(take(1) == ([], true) && table.sharing.map(\.incarnation) == [2, 3, 4])
        #expect(take(1000) == ([], true) && table.sharing.map(\.incarnation) == [1, 2, 3, 4])
        #expect(table.uncaptured.map(\.incarnation) == [5, 6])
        #expect(take(59_999) == ([], false) && table.hasFailures)
        // One is tried, and shares the ring at once if there is still no memory.
        #expect(take(60_000) == ([2], true))
        fail(60_000)
        #expect(take(60_001) == ([], true) && table.sharing.map(\.incarnation) == [1, 2, 3, 4])
        #expect(take(119_999) == ([], false))
        #expect(take(120_000) == ([2], true))
        openAll()
        #expect(take(120_001) == ([3, 4, 5, 6], true))
        openAll()
        #expect(table.sharing.map(\.incarnation) == [1] && table.uncaptured.isEmpty)
        #expect(take(300_000) == ([], false) && !table.isDue(now: Self.begin + .seconds(300)))
    }

    @Test("gives up a ring inside a pod when another pod is behind the edge")
    func otherPod() {
        let first = Self.edge(1, inode: 100)
        var table = RingTable(RingBudget(byteCountMax: 64 * Self.mebibyte, hasPodTaps: true))
        for opening in table.takeOpenings(for: [first], now: Self.begin).openings {
            _ = table.recordOpened(opening, nil, at: first.tap, now: Self.begin)
        }
        table.record([first])
        #expect(table.insideCount == 1 && table.takeGone(from: [first]).isEmpty)
        let next = Self.edge(1, inode: 101)
        table.record([next])
        #expect(table.takeGone(from: [next]) == [1])
        #expect(table.takeOpenings(for: [next], now: Self.begin).openings.isEmpty)
        table.recordClosed(1, nil)
        #expect(table.takeOpenings(for: [next], now: Self.begin).openings.count == 1)
    }

    @Test("lets no ring grow into what edges inside pods will need")
    func setAside() {
        for hasPodTaps in [false, true] {
            var budget = RingBudget(byteCountMax: 16 * Self.mebibyte, hasPodTaps: hasPodTaps)
            var count = 0
            while budget.takeLarger(than: Self.smallest) != nil { count += 1 }
            let left = budget.byteCountMax - budget.usedByteCount
            #expect((left >= 4 * Self.mebibyte) == hasPodTaps && count > 1)
        }
    }

    @Test("tries an edge again after a second, and reports each reason once")
    func retries() {
        var table = RingTable(RingBudget(byteCountMax: 256 * Self.mebibyte))
        let edges = [Self.edge(1)]
        let socket = SystemError("socket", .noBufferSpace)
        let dup = SystemError("dup", .noBufferSpace)
        let tables: [(seconds: Int, error: Ring.Failure, isNews: Bool)] = [
            (0, .programTooLarge, true), (1, .programTooLarge, false), (2, .noMemory, true),
            (63, .programTooLarge, true), (64, .system(socket), true), (65, .system(dup), false),
        ]
        for row in tables {
            let now = Self.begin + .seconds(row.seconds)
            let openings = table.takeOpenings(for: edges, now: now).openings
            #expect(openings.count == 1, "\(row)")
            let isNews = table.recordFailure(openings[0], row.error, now: now)
            #expect(isNews == row.isNews, "\(row)")
            #expect(table.hasFailures && table.ringByteCount == 0)
            let early = table.takeOpenings(for: edges, now: now + .milliseconds(999)).openings
            #expect(early.isEmpty)
        }
        let now = Self.begin + .seconds(66)
        let openings = table.takeOpenings(for: edges, now: now).openings
        let hadFailed = table.recordOpened(openings[0], nil)
        #expect(hadFailed && !table.hasFailures)
    }

    @Test(
        "does not report an edge that has gone or down in the meantime", arguments: [true, false])
    func absent(isDown: Bool) {
        var table = RingTable(RingBudget(byteCountMax: 256 * Self.mebibyte))
        let opening = table.takeOpenings(for: [Self.edge(1)], now: Self.begin).openings[0]
        let isNews = table.recordFailure(
            opening, isDown ? .interfaceDown : .interfaceGone(.noSuchDevice), now: Self.begin)
        #expect(!isNews)
        // An event reports that it is up again, so nothing is to be waited for.
        #expect(table.hasFailures == !isDown)
    }

    @Test("lets edges without memory share a ring, and they stay with it")
    func sharing() {
        // Room for seven of the smallest rings beside the one that is set aside.
        var table = RingTable(RingBudget(byteCountMax: 8 * Self.smallest))
        let edges = Self.edges(1...10)
        let (openings, isSharingChanged) = table.takeOpenings(for: edges, now: Self.begin)
        for opening in openings { _ = table.recordOpened(opening, nil) }
        #expect(openings.count == 7 && isSharingChanged)
        #expect(table.sharing.map(\.incarnation) == [8, 9, 10])
        #expect(table.lacksSharedRing && table.hasFailures)
        // Memory that becomes free is for new edges.
        #expect(table.takeGone(from: Array(edges[1...])) == [1])
        table.recordClosed(1, nil)
        let (later, isChanged) = table.takeOpenings(
            for: Self.edges(2...11), now: Self.begin + .seconds(1))
        #expect(later.map(\.edge.incarnation) == [11])
        #expect(!isChanged && table.sharing.map(\.incarnation) == [8, 9, 10])
    }

    @Test("names an edge that is gone once, and frees its memory when its ring is closed")
    func gone() {
        var table = Self.table(Self.edges(1...2))
        #expect(table.takeGone(from: [Self.edge(2)]) == [1])
        #expect(table.takeGone(from: [Self.edge(2)]).isEmpty)
        #expect(table.slot(1)?.isLeaving == true)
        #expect(table.relievePressure(on: 1, now: Self.begin).isEmpty)
        table.recordClosed(1, nil)
        #expect(table.slot(1) == nil && table.ringByteCount == 4 * Self.mebibyte)
        #expect(table.takeClosing().count == 1 && table.takeClosing().isEmpty)
        #expect(table.takeAll().count == 3)
    }

    /// Steps of a replacement, with the time in milliseconds, and the ring's size afterwards.
    private enum Step {
        /// The ring is under pressure: a new one of this many MiB is opened, or none.
        case pressure(Int, opens: Int?)
        case replaced
        case cancelled
        case openingFailed
    }

    private func run(_ steps: [Step]) -> RingTable {
        var table = Self.table(Self.edges(1...1))
        for step in steps {
            switch step {
            case .pressure(let milliseconds, let opens):
                let changes = table.relievePressure(
                    on: 1, now: Self.begin + .milliseconds(milliseconds))
                #expect(
                    changes.map(\.shape.byteCount) == (opens.map { [$0 * Self.mebibyte] } ?? []),
                    "\(step)")
            case .replaced: table.recordReplaced(1, nil)
            case .cancelled: table.cancelReplacement(1, nil)
            case .openingFailed: if let slot = table.slot(1) { table.recordOpeningFailed(slot) }
            }
        }
        return table
    }

    @Test("replaces a ring under pressure by a larger one, and only once at a time")
    func grows() {
        let table = run([.pressure(0, opens: 64), .pressure(500, opens: nil), .replaced])
        #expect(table.slot(1)?.byteCount == 64 * Self.mebibyte)
        #expect(table.ringByteCount == 64 * Self.mebibyte)
        let largest = run([.pressure(0, opens: 64), .replaced, .pressure(9000, opens: nil)])
        #expect(largest.slot(1)?.newByteCount == 0)
    }

    @Test("waits twice as long after each replacement that was cancelled")
    func backsOff() {
        let table = run([
            .pressure(0, opens: 64), .cancelled, .pressure(399, opens: nil),
            .pressure(400, opens: 64), .cancelled, .pressure(1199, opens: nil),
            .pressure(1200, opens: 64), .openingFailed, .pressure(1999, opens: nil),
            .pressure(2000, opens: 64), .replaced,
        ])
        #expect(table.slot(1)?.failureCount == 0)
        #expect(table.ringByteCount == 64 * Self.mebibyte)
    }

    @Test("replaces a ring when its edge's packets become larger than its blocks, once a second")
    func largerBlocks() {
        var table = Self.table(Self.edges(1...2))
        #expect(table.takeLargerBlocks(now: Self.begin).changes.isEmpty)
        table.record([Self.edge(1, frameByteCountMax: 185_000)])
        let changes = table.takeLargerBlocks(now: Self.begin).changes
        #expect(changes.map(\.slot.edge.incarnation) == [1])
        #expect(changes.map(\.shape.blockByteCount) == [256 << 10])
        // The new ring is being opened, and then cannot replace the old one.
        let later = Self.begin + .milliseconds(999)
        #expect(table.takeLargerBlocks(now: later).changes.isEmpty)
        table.cancelReplacement(1, nil)
        #expect(table.takeLargerBlocks(now: later).changes.isEmpty)
        let again = table.takeLargerBlocks(now: Self.begin + .seconds(1))
        #expect(again.changes.count == 1 && again.lacking.isEmpty)
        table.recordReplaced(1, nil)
        #expect(table.slot(1)?.shape.holds(frameOf: 185_000) == true)
        #expect(table.takeLargerBlocks(now: Self.begin + .seconds(2)).changes.isEmpty)
        // Smaller packets need no other ring; a larger ring has larger blocks for every frame.
        table.record(Self.edges(1...1))
        #expect(table.takeLargerBlocks(now: Self.begin + .seconds(3)).changes.isEmpty)
        table.record([Self.edge(1, frameByteCountMax: 185_000)])
        let larger = table.relievePressure(on: 1, now: Self.begin + .seconds(4))
        #expect(larger.map(\.shape.blockByteCount) == [512 << 10])
    }

    @Test("gives silent edges slow rings, 16 a second, and edges that talk quick ones at once")
    func paces() {
        var table = Self.table(Self.edges(1...40))
        #expect(table.takePaces(now: Self.begin).isEmpty && table.nextPaceAt == nil)
        for incarnation in 1...40 { table.recordPace(.slow, of: UInt64(incarnation)) }
        let first = table.takePaces(now: Self.begin)
        #expect(first.count == 16 && first.allSatisfy { $0.shape.pace == .slow })
        #expect(first.allSatisfy { $0.shape.byteCount == $0.slot.byteCount })
        // Others have to wait until these are open.
        #expect(table.takePaces(now: Self.begin + .seconds(2)).isEmpty && table.nextPaceAt == nil)
        for change in first {
            table.recordReplaced(change.slot.edge.incarnation, nil, now: Self.begin)
        }
        #expect(table.slowCount == 16)
        #expect(table.nextPaceAt == Self.begin + .seconds(1))
        #expect(table.takePaces(now: Self.begin + .milliseconds(999)).isEmpty)
        // Edges that talk come before silent ones.
        let talking = first.prefix(3).map(\.slot.edge.incarnation)
        for incarnation in talking { table.recordPace(.quick, of: incarnation) }
        let second = table.takePaces(now: Self.begin + .seconds(1))
        #expect(second.count == 16)
        #expect(second.prefix(3).allSatisfy { $0.shape.pace == .quick })
        #expect(Set(second.prefix(3).map(\.slot.edge.incarnation)) == Set(talking))
        // They hold what comes until the slow ones have been read.
        #expect(second.prefix(3).allSatisfy { $0.shape.blockCount >= 16 })
        #expect(second.dropFirst(3).allSatisfy { $0.shape.pace == .slow })
        for change in second {
            table.recordReplaced(
                change.slot.edge.incarnation, nil, now: Self.begin + .seconds(1))
        }
        #expect(table.slowCount == 16 - 3 + 13)
        #expect(table.budget.usedByteCount <= table.budget.byteCountMax)
    }

    @Test("tries a ring of another pace again after a second, and later after 32")
    func pacesFail() {
        var table = Self.table(Self.edges(1...1))
        table.recordPace(.slow, of: 1)
        let used = table.budget.usedByteCount
        var now = Self.begin
        for seconds in [1, 2, 4, 8, 16, 32, 32] {
            let changes = table.takePaces(now: now)
            #expect(changes.count == 1 && table.budget.usedByteCount > used)
            table.cancelReplacement(1, nil, because: .busy, now: now)
            #expect(table.budget.usedByteCount == used)
            now += .seconds(seconds)
            #expect(table.nextPaceAt == now)
        }
        #expect(table.slowCount == 0)
    }

    @Test("makes the ring of a busy edge just large enough for larger blocks")
    func busy() {
        var table = Self.table(Self.edges(1...1))
        let large = table.relievePressure(on: 1, .rate, now: Self.begin)
        #expect(large.map(\.shape.byteCount) == [16 * Self.mebibyte])
        #expect(large.map(\.shape.blockByteCount) == [512 << 10])
        table.recordReplaced(1, nil, now: Self.begin)
        #expect(table.relievePressure(on: 1, .rate, now: Self.begin + .seconds(1)).isEmpty)
        let larger = table.relievePressure(on: 1, now: Self.begin + .seconds(2))
        #expect(larger.map(\.shape.byteCount) == [64 * Self.mebibyte])
        // Nobody gives up memory for that.
        var small = Self.table(Self.edges(1...8), mebibytes: 32)
        let used = small.budget.usedByteCount
        #expect(small.relievePressure(on: 1, .rate, now: Self.begin + .seconds(60)).isEmpty)
        #expect(small.budget.usedByteCount == used)
    }

    @Test("makes the ring of a silent edge no larger than a new edge's, and keeps it slow")
    func slow() {
        var table = Self.table(Self.edges(1...1))
        let larger = table.relievePressure(on: 1, now: Self.begin)
        #expect(larger.map(\.shape.byteCount) == [64 * Self.mebibyte])
        table.recordReplaced(1, nil, now: Self.begin)
        table.recordPace(.slow, of: 1)
        let slow = table.takePaces(now: Self.begin + .seconds(1))
        #expect(slow.map(\.shape.byteCount) == [4 * Self.mebibyte])
        table.recordReplaced(1, nil, now: Self.begin + .seconds(1))
        // Another ring for another reason keeps the pace, but not one for much traffic.
        table.record([Self.edge(1, frameByteCountMax: 185_000)])
        let blocks = table.takeLargerBlocks(now: Self.begin + .seconds(3)).changes
        #expect(blocks.map(\.shape.pace) == [.slow])
        table.recordReplaced(1, nil, now: Self.begin + .seconds(3))
        let pressed = table.relievePressure(on: 1, now: Self.begin + .seconds(5))
        #expect(pressed.map(\.shape.pace) == [.quick])
        table.recordReplaced(1, nil, now: Self.begin + .seconds(5))
        #expect(table.slowCount == 0 && table.nextPaceAt == nil)
    }

    @Test("replaces a ring whose block has cut a packet that nothing had announced")
    func cut() {
        var table = Self.table(Self.edges(1...1))
        #expect(table.recordCut(7, 185_000) == nil)
        #expect(table.recordCut(1, 185_000) != nil && table.recordCut(1, 300_000) == nil)
        let changes = table.takeLargerBlocks(now: Self.begin).changes
        #expect(changes.map(\.shape.blockByteCount) == [512 << 10])
        // What has been seen counts, whatever the devices' settings say later.
        table.recordReplaced(1, nil)
        table.record(Self.edges(1...1))
        #expect(table.slot(1)?.frameByteCountMax == 300_000)
    }

    @Test("reports once that there is no memory for larger blocks, until there is")
    func blocksWithoutMemory() {
        var table = Self.table([Self.edge(1, frameByteCountMax: 524_280)], mebibytes: 2)
        #expect(table.slot(1)?.shape == RingBudget.smallest)
        for second in 0...2 {
            let (changes, lacking) = table.takeLargerBlocks(now: Self.begin + .seconds(second))
            #expect(changes.isEmpty && lacking.count == (second == 0 ? 1 : 0))
        }
        // The smallest larger block fits, and is replaced when it is needed.
        table.record([Self.edge(1, frameByteCountMax: 131_000)])
        let (changes, _) = table.takeLargerBlocks(now: Self.begin + .seconds(3))
        #expect(changes.map(\.shape.blockByteCount) == [256 << 10])
        table.recordReplaced(1, nil)
        table.record([Self.edge(1, frameByteCountMax: 524_280)])
        #expect(table.takeLargerBlocks(now: Self.begin + .seconds(4)).lacking.count == 1)
    }

    @Test("replaces idle rings by the smallest when there is no memory to grow")
    func shrinks() {
        var table = Self.table(Self.edges(1...4), mebibytes: 32)
        var byteCounts = (1...4).map { table.slot($0)?.byteCount ?? 0 }
        #expect(byteCounts[0] >= Self.mebibyte)
        // All that is left of the memory.
        var now = Self.begin
        var openedCount = 0
        while let change = table.relievePressure(on: 1, now: now).first, openedCount < 9 {
            guard change.slot.edge.incarnation == 1 else { break }
            table.recordReplaced(1, nil)
            openedCount += 1
            now += .seconds(1)
        }
        byteCounts = (1...4).map { table.slot($0)?.byteCount ?? 0 }
        #expect(byteCounts[0] == 8 * Self.mebibyte)
        #expect(table.ringByteCount == byteCounts.reduce(0, +))
    }
}
