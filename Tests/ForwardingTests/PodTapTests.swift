import Addressing
import BPF
import Edges
import Forwarding
import Glibc
import KernelSupport
import Linux
import Logging
import Metrics
import Netlink
import Observation
import Opener
import Settings
import Synchronization
import Taps
import Testing
import Time

/// Captures whose rings are inside pods, with an opener beside them.
@Suite("A capture inside pods", .serialized, .needsOwnNetwork, .timeLimit(.minutes(15)))
struct PodTapTests {
    static let quiet = LiveCaptureTests.quiet
    static let patience = Duration.seconds(60)

    /// The opener's socket; another process has another one.
    private static var path: String { "/tmp/podwire-opener-\(getpid())" }

    /// The name of the pod's namespace, which other suites do not use meanwhile.
    static var podName: String { "tapped\(getpid())" }

    /// An opener that runs until it is stopped.
    final class RunningOpener {
        private let stop: StopSignal
        private let thread: TransferBox<Thread>

        init() throws {
            let stop = try StopSignal()
            let isListening = try Event()
            let ready = isListening.fileDescriptor
            thread = TransferBox(
                try Thread {
                    let opener = try? PodSocketOpener(opensPodInterfaces: false)
                    let server = opener.flatMap {
                        try? OpenerServer(at: path, $0, user: geteuid(), logger: quiet)
                    }
                    Event.raise(ready)
                    try? server?.run(until: stop)
                })
            self.stop = stop
            _ = try poll([(ready, .readable)], milliseconds: 60_000)
        }

        func end() {
            stop.give()
            thread.take()?.join()
        }
    }

    /// The node with its pod, which is captured at an end of its pair.
    static func node(_ mode: TapSettings.Mode) throws -> (Node, Settings) {
        let settings = try Settings(
            options: [
                .podNetworks: "10.244.0.0/16", .includedEdges: "here", .deduplication: "off",
                .tap: mode.rawValue,
            ], needsPeer: false, environment: { _ in nil })
        let node = try Node.read(settings.edges, taps: settings.taps)
        #expect(node.capturedVeths.map(\.link.name) == ["here"])
        #expect(node.edges.map(\.tap.side.rawValue) == [mode == .pod ? "pod" : "host"])
        return (node, settings)
    }

    static func capture(
        _ feed: NodePublisher, _ settings: Settings, filter: Program? = nil,
        ringByteCountMax: Int = 64 << 20, queueByteCountMax: Int? = nil,
        silenceTime: Duration = TalkMeter.window, to connection: consuming sending DataConnection
    ) throws -> LiveCapture {
        var capture = settings.capture
        if let queueByteCountMax { capture.queueByteCountMax = queueByteCountMax }
        var plan = CapturePlan(
            feed: feed, tracksConnections: false, filter: filter, settings: capture,
            ringMemory: RingMemory(byteCountMax: ringByteCountMax),
            podSockets: PodSockets(PodSocketClient(path: path), logger: quiet),
            senderPolicy: .never)
        plan.silenceTime = silenceTime
        return try LiveCapture(
            plan, to: connection, for: "sensor", CaptureCounters(), logger: quiet)
    }

    /// Waits until nothing keeps the namespace of an id, and no veth is left.
    ///
    /// The kernel keeps the id for as long as the namespace is there.
    static func awaitRelease(of id: Int32) throws {
        let deadline = MonotonicTime.now + patience
        let look = "ip netns list-id | grep -w 'nsid \(id)'; ip -o link show type veth"
        while try output(of: look) != "" {
            try #require(MonotonicTime.now < deadline)
            _ = try poll([], milliseconds: 2)
        }
    }

    /// Waits until a number of rings is inside pods.
    static func await(inside count: Int, _ capture: LiveCapture) throws {
        let deadline = MonotonicTime.now + patience
        while capture.gauges.edgesInside.value != count {
            guard MonotonicTime.now < deadline else {
                let counters = capture.counters
                throw SystemError(
                    """
                    wait for \(count) rings inside pods: \(capture.gauges.edgesInside.value) are, \
                    \(counters[.ringsReplaced]) replaced, \(counters[.ringsNotMoved]) not moved, \
                    \(capture.gauges.ringBytes.value) bytes of rings, \(counters.queueBytes.value) queued
                    """, .timedOut)
            }
            _ = try poll([], milliseconds: 5)
        }
    }

    /// Sends frames that end in marks from one end of the pair.
    private static func sender(fromPod: Bool) throws -> PacketSender {
        guard fromPod else { return try PacketSender(on: try interfaceIndex("here")) }
        let node = try Node.read(EdgeSelection(), taps: TapSettings(.pod))
        let tap = try #require(node.edges.first?.tap.podTap)
        let namespace = try tap.file.open()
        return PacketSender(
            try Descriptor.packetSocket(inside: namespace), on: tap.podIndex)
    }

    @Test("has the packets of both directions, and a filter's direction is the host's")
    func directions() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let opener = try RunningOpener()
            defer { opener.end() }
            let (node, settings) = try Self.node(.pod)
            // What `tcpdump -ddd outbound` prints for Ethernet.
            let outbound = try Program(checking: [
                Instruction(.loadHalf, Ancillary.packetTypeOffset),
                Instruction(.jumpIfEqual, Ancillary.outgoing, ifTrue: 0, ifFalse: 1),
                Instruction(.keep, 262_144), Instruction(.keep, 0),
            ])
            for filter in [nil, outbound] {
                var connection = DataConnection.awaited
                var pair = try LiveCaptureTests.Pair(&connection)
                let feed = NodePublisher(RuleSettings(settings), node: node)
                let capture = try Self.capture(feed, settings, filter: filter, to: connection)
                try Self.await(inside: 1, capture)
                let pod = Self.podName
                #expect(
                    try output(of: "ip netns exec \(pod) cat /proc/net/packet | wc -l") == "2\n")
                let atHost = try Self.sender(fromPod: false)
                let inside = try Self.sender(fromPod: true)
                for mark in 0..<50 as Range<UInt32> {
                    try atHost.send(LiveCaptureTests.frame(mark))
                    try inside.send(LiveCaptureTests.frame(1000 + mark))
                }
                let marks = try pair.packets(filter == nil ? 100 : 50).map(\.mark)
                let expected = Set<UInt32>(
                    (0..<50).flatMap { filter == nil ? [$0, 1000 + $0] : [$0] })
                #expect(Set(marks) == expected && marks.count == expected.count)
                LiveCaptureTests.finish(capture)
            }
        }
    }

    @Test("moves to the other end and back while packets pass, without loss or doubles")
    func moves() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let opener = try RunningOpener()
            defer { opener.end() }
            let (_, settings) = try Self.node(.pod)
            let nodes = try Self.bothNodes(settings)
            let feed = NodePublisher(RuleSettings(settings), node: nodes.host)
            var connection = DataConnection.awaited
            let pair = try LiveCaptureTests.Pair(&connection)
            let capture = try Self.capture(feed, settings, to: connection)
            let load = try Load()
            defer { load.end() }
            let reader = Marks()
            let box = TransferBox(pair)
            let thread = try Thread {
                guard var pair = box.take() else { return }
                while let marks = try? pair.packets(100).map(\.mark), !marks.isEmpty {
                    reader.add(marks)
                }
            }
            for turn in 1...Self.moveCount {
                let isInside = turn % 2 == 1
                feed.publish(isInside ? nodes.pod : nodes.host)
                try Self.await(inside: isInside ? 1 : 0, capture)
                // The packets of both directions go on for a while at this end.
                let target = load.counts.map { $0 + 200 }
                while zip(load.counts, target).contains(where: { $0 < $1 }) {
                    _ = try poll([], milliseconds: 5)
                }
            }
            load.end()
            LiveCaptureTests.finish(capture)
            thread.join()
            let counts = capture.counters.counts.frames
            #expect(counts[.droppedByRing] == 0)
            #expect(reader.doubledCount == 0, "of \(load.counts)")
            #expect(reader.lostCount(load.counts) == 0, "of \(load.counts)")
            #expect(capture.counters[.ringsReplaced] >= UInt64(Self.moveCount))
        }
    }

    /// The node as it is when its edge is to be captured at either end.
    static func bothNodes(_ settings: Settings) throws -> (host: Node, pod: Node) {
        var table = EdgeTable(TapPlan(.pod))
        var socket = try NetlinkSocket()
        table.reset(links: try socket.links())
        var folder = try NamespaceFolder(settings.taps.namespaceFolder)
        table.apply(folder.read())
        let pod = table.node(settings.edges)
        table.tapPlan = TapPlan(.host)
        return (table.node(settings.edges), pod)
    }

    /// How often an edge moves.
    private static let moveCount = 20

    @Test("captures at the host's end while there is no opener, and moves when there is one")
    func openerComesLate() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let (node, settings) = try Self.node(.pod)
            let feed = NodePublisher(RuleSettings(settings), node: node)
            let capture = try Self.capture(feed, settings, to: try LiveCaptureTests.datagrams())
            #expect(capture.gauges.edgesInside.value == 0)
            try LiveCaptureTests.send(10)
            let deadline = MonotonicTime.now + Self.patience
            while capture.counters.counts.frames.matched < 10, MonotonicTime.now < deadline {
                capture.count()
            }
            #expect(capture.counters.counts.frames.matched == 10)
            let opener = try RunningOpener()
            defer { opener.end() }
            try Self.await(inside: 1, capture)
            LiveCaptureTests.finish(capture)
        }
    }

    @Test("lets a pod's namespace go when its file or its link is gone", arguments: [false, true])
    func release(deletesLink: Bool) throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let opener = try RunningOpener()
            defer { opener.end() }
            let (_, settings) = try Self.node(.pod)
            let monitor = try NodeMonitor(settings.edges, taps: settings.taps, logger: Self.quiet)
            let feed = NodePublisher(RuleSettings(settings), node: monitor.node)
            let capture = try Self.capture(feed, settings, to: try LiveCaptureTests.datagrams())
            try Self.await(inside: 1, capture)
            let running = try RunningMonitor(monitor, publishingTo: feed)
            let id = try #require(feed.snapshot.edges.first?.tap.podTap?.namespaceID)
            let pod = Self.podName
            if deletesLink { try shell("ip link del here") }
            try shell("ip netns del \(pod)")
            try Self.awaitRelease(of: id)
            try Self.await(inside: 0, capture)
            running.end()
            LiveCaptureTests.finish(capture)
        }
    }

    @Test("leaves no socket and no namespace behind when pods come and go")
    func churn() async {
        // A process of its own, in which no other test opens anything.
        await #expect(processExitsWith: .success) {
            try LiveCaptureTests.onNode(podName: Self.podName) {
                let opener = try RunningOpener()
                defer { opener.end() }
                let (_, settings) = try Self.node(.pod)
                let all = EdgeSelection(included: ["*"])
                let monitor = try NodeMonitor(all, taps: settings.taps, logger: Self.quiet)
                let feed = NodePublisher(RuleSettings(settings), node: monitor.node)
                let capture = try Self.capture(feed, settings, to: try LiveCaptureTests.datagrams())
                let running = try RunningMonitor(monitor, publishingTo: feed)
                try Self.await(inside: 1, capture)
                let before = try Self.uses { $0[1] == 0 }
                let churned = "churn\(getpid())"
                for _ in 0..<20 {
                    try shell(
                        """
                        ip netns add \(churned)
                        ip link add c type veth peer name e netns \(churned)
                        ip link set c up && ip -n \(churned) link set e up
                        """)
                    try Self.await(inside: 2, capture)
                    try shell("ip netns del \(churned)")
                    try Self.await(inside: 1, capture)
                    // The pair goes with the namespace, which nothing holds any more.
                    let deadline = MonotonicTime.now + Self.patience
                    while try output(of: "ip -o link show c 2>/dev/null || true") != "" {
                        try #require(MonotonicTime.now < deadline)
                    }
                }
                #expect(try Self.uses { $0 == before } == before)
                running.end()
                LiveCaptureTests.finish(capture)
            }
        }
    }

    /// The numbers of this process's sockets and open namespaces, when they are as awaited.
    ///
    /// Commands and openings have some for a moment.
    private static func uses(until isAwaited: ([Int]) -> Bool) throws -> [Int] {
        let deadline = MonotonicTime.now + patience
        while true {
            let targets = try fileNames(in: "/proc/self/fd").compactMap {
                try? linkTarget("/proc/self/fd/\($0)")
            }
            let found = ["socket:", "net:"].map { kind in targets.count { $0.hasPrefix(kind) } }
            if isAwaited(found) || MonotonicTime.now > deadline { return found }
            _ = try poll([], milliseconds: 20)
        }
    }
}

extension PodTapTests {
    /// Two threads that send numbered frames, each from one end of the pair, until the end.
    final class Load: Sendable {
        private let isOver = Atomic<Bool>(false)
        private let sent = [2 of Atomic<Int>] { _ in Atomic(0) }
        private let threads = Mutex<[TransferBox<Thread>]>([])
        /// The most frames of each thread in a millisecond or two; `MOVE_BURST` sets another number.
        private static let burst =
            unsafe getenv("MOVE_BURST").flatMap { unsafe Int(String(cString: $0)) } ?? 2

        init() throws {
            for direction in 0..<2 {
                let sender = TransferBox(try PodTapTests.sender(fromPod: direction == 1))
                let thread = TransferBox(try Thread { [self] in run(sender, direction) })
                threads.withLock { $0.append(thread) }
            }
        }

        private func run(_ box: TransferBox<PacketSender>, _ direction: Int) {
            guard let sender = box.take() else { return }
            var number: UInt32 = 0
            while !isOver.load(ordering: .relaxed) {
                for _ in 0..<Self.burst {
                    let mark = UInt32(direction) << 31 | number
                    guard (try? sender.send(LiveCaptureTests.frame(mark))) != nil else { continue }
                    number += 1
                    sent[direction].store(Int(number), ordering: .relaxed)
                }
                sleep(until: .now + .milliseconds(1))
            }
        }

        /// The frames that were sent, by direction.
        var counts: [Int] { (0..<2).map { sent[$0].load(ordering: .relaxed) } }

        func end() {
            isOver.store(true, ordering: .relaxed)
            for thread in threads.withLock({ $0 }) { thread.take()?.join() }
        }
    }

    /// The marks that have come, each as often as it came.
    final class Marks: Sendable {
        private let seen = Mutex<[UInt32: Int]>([:])

        func add(_ marks: [UInt32]) {
            seen.withLock { seen in for mark in marks { seen[mark, default: 0] += 1 } }
        }

        var doubledCount: Int { seen.withLock { $0.values.count { $0 > 1 } } }

        /// The number of marks that have not come, of which each sender's begin with its number.
        func lostCount(_ counts: [Int], senderBit: UInt32 = 31) -> Int {
            seen.withLock { seen in
                counts.enumerated().reduce(0) { sum, item in
                    sum
                        + (0..<UInt32(item.element)).count {
                            seen[UInt32(item.offset) << senderBit | $0] == nil
                        }
                }
            }
        }
    }
}

/// A node's monitor on a thread of its own.
struct RunningMonitor: ~Copyable {
    private let stop: Event
    private let thread: Thread

    /// Has a monitor follow the node.
    init(_ monitor: consuming sending NodeMonitor, publishingTo feed: NodePublisher) throws {
        let stop = try Event()
        let stopNumber = stop.fileDescriptor
        let box = TransferBox(monitor)
        thread = try Thread {
            guard var monitor = box.take() else { return }
            try? monitor.run(until: stopNumber) { feed.publish($0) }
        }
        self.stop = stop
    }

    /// Ends the monitor, and waits for that.
    consuming func end() {
        Event.raise(stop.fileDescriptor)
        thread.join()
    }
}
