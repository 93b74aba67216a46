import Addressing
import Edges
import Forwarding
import Glibc
import KernelSupport
import Linux
import Netlink
import Observation
import Settings
import Synchronization
import Taps
import Testing
import Time

/// Captures inside pods while much passes, or while the sensor takes nothing.
extension PodTapTests {
    @Test("moves many edges with steady traffic to the other ends and back, each in few tries")
    func movesMany() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let opener = try RunningOpener()
            defer { opener.end() }
            defer {
                for number in 0..<Self.busyCount { try? shell("ip netns del \(Self.name(number))") }
            }
            for number in 0..<Self.busyCount { try Self.addPod(number) }
            try awaitLinks()
            let settings = try Settings(
                options: [
                    .podNetworks: "10.244.0.0/16", .includedEdges: "busy*", .tap: "pod",
                ], needsPeer: false, environment: { _ in nil })
            let nodes = try Self.bothNodes(settings)
            let count = nodes.pod.edges.count
            #expect(count >= Self.busyCount)
            let feed = NodePublisher(RuleSettings(settings), node: nodes.host)
            var connection = DataConnection.awaited
            let pair = try LiveCaptureTests.Pair(&connection)
            // First rings have eight blocks, which the kernel uses up in 112 ms.
            let capture = try Self.capture(
                feed, settings, ringByteCountMax: 32 << 20, to: connection)
            let load = try SteadyLoad(nodes.pod.edges.filter { $0.name.hasPrefix("busy") })
            defer { load.end() }
            let marks = Marks()
            let box = TransferBox(pair)
            let reader = try Thread {
                guard var pair = box.take() else { return }
                while let some = try? pair.packets(100).map(\.mark), !some.isEmpty {
                    marks.add(some)
                }
            }
            for isInside in [true, false, true, false] {
                feed.publish(isInside ? nodes.pod : nodes.host)
                try Self.await(inside: isInside ? count : 0, capture)
                let target = load.counts.map { $0 + 20 }
                while zip(load.counts, target).contains(where: { $0 < $1 }) {
                    _ = try poll([], milliseconds: 5)
                }
            }
            load.end()
            LiveCaptureTests.finish(capture)
            reader.join()
            // A ring that is not read for long on a busy machine drops packets, and says so.
            let dropped = Int(capture.counters.counts.frames[.droppedByRing])
            #expect(marks.doubledCount == 0, "of \(load.counts)")
            #expect(marks.lostCount(load.counts, senderBit: 24) == dropped, "of \(load.counts)")
            // When rings were opened one after the other, nearly every edge failed, and often.
            let failureCount = capture.counters[.ringsNotMoved]
            #expect(failureCount < 2 * UInt64(Self.busyCount))
        }
    }

    private static let busyCount = 16

    private static func name(_ number: Int) -> String { "busy\(getpid())-\(number)" }

    private static func addPod(_ number: Int) throws {
        let pod = name(number)
        try shell(
            """
            ip netns add \(pod) && ip link add busy\(number) type veth peer there netns \(pod)
            ip netns exec \(pod) sysctl -qw net.ipv6.conf.all.disable_ipv6=1
            ip -n \(pod) link set there up && ip -n \(pod) addr add 10.244.0.\(number + 1)/32 dev there
            ip link set busy\(number) up
            """)
    }

    /// Removes a pod with its namespace, when a body has captured inside it, and waits until the capture
    /// has let go of both.
    ///
    /// - Parameters:
    ///   - takesLittle: Whether the connection takes little that is not read.
    ///   - queueByteCountMax: The size of the send queue.
    ///   - silenceTime: How long the edge is watched before it is found silent.
    ///   - body: What comes before.
    ///   - check: What comes afterwards, with the other end of the connection.
    /// - Returns: The capture, which has ended.
    /// - Throws: What a step throws, or that the pod is not let go of in time.
    @discardableResult
    private static func releasePod(
        takesLittle: Bool = false, queueByteCountMax: Int? = nil,
        silenceTime: Duration = TalkMeter.window,
        after body: (LiveCapture) throws -> Void,
        check: (LiveCapture, inout LiveCaptureTests.Pair) throws -> Void
    ) throws -> LiveCapture {
        let opener = try RunningOpener()
        defer { opener.end() }
        let (_, settings) = try Self.node(.pod)
        let monitor = try NodeMonitor(settings.edges, taps: settings.taps, logger: Self.quiet)
        let feed = NodePublisher(RuleSettings(settings), node: monitor.node)
        var connection = DataConnection.awaited
        var pair = try LiveCaptureTests.Pair(&connection, takesLittle: takesLittle)
        let capture = try Self.capture(
            feed, settings, queueByteCountMax: queueByteCountMax, silenceTime: silenceTime,
            to: connection)
        try Self.await(inside: 1, capture)
        let running = try RunningMonitor(monitor, publishingTo: feed)
        let id = try #require(feed.snapshot.edges.first?.tap.podTap?.namespaceID)
        try body(capture)
        let pod = Self.podName
        try shell("ip netns del \(pod)")
        try Self.awaitRelease(of: id)
        try Self.await(inside: 0, capture)
        try check(capture, &pair)
        running.end()
        LiveCaptureTests.finish(capture)
        return capture
    }

    @Test("lets a pod's namespace go while the sensor takes nothing, and accounts for its packets")
    func releaseWhileStalled() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            try Self.releasePod(takesLittle: true, queueByteCountMax: 1 << 20) { capture in
                let deadline = MonotonicTime.now + Self.patience
                // Until the queue and then the ring are full.
                while capture.counters.counts.frames[.droppedByRing] == 0 {
                    try #require(MonotonicTime.now < deadline)
                    try LiveCaptureTests.send(1000, byteCount: 1400)
                    capture.count()
                }
            } check: { capture, _ in
                #expect(capture.counters.counts.frames[.abandoned] > 0)
            }
        }
    }

    @Test("lets the namespace of a silent pod go, and sends the last packets of its slow ring")
    func releaseSlow() throws {
        try LiveCaptureTests.onNode(podName: Self.podName) {
            let capture = try Self.releasePod(silenceTime: .milliseconds(100)) { capture in
                try LiveCaptureTests.awaitSlowRings(1, of: capture)
                try LiveCaptureTests.send(10)
            } check: { _, pair in
                let seen = try pair.packets(10)
                #expect(seen.map(\.last) == Array(0..<10))
            }
            #expect(capture.counters.counts.frames[.abandoned] == 0)
        }
    }

    /// A thread that sends numbered packets between each pod and the outside, from both ends of its
    /// pair, until the end.
    final class SteadyLoad: Sendable {
        private let isOver = Atomic<Bool>(false)
        private let rounds = Atomic<Int>(0)
        private let edgeCount: Int
        private let thread = Mutex<TransferBox<Thread>?>(nil)

        private final class Source {
            let sender: PacketSender
            var frame: [UInt8]

            init(_ sender: consuming PacketSender, _ frame: [UInt8]) {
                self.sender = sender
                self.frame = frame
            }
        }

        init(_ edges: [Edge]) throws {
            edgeCount = edges.count
            let new = TransferBox(try Thread { [self] in try? run(edges) })
            thread.withLock { $0 = new }
        }

        private func run(_ edges: [Edge]) throws {
            var sources: [Source] = []
            for edge in edges {
                guard let tap = edge.tap.podTap else { continue }
                sources.append(
                    Source(
                        try PacketSender(on: edge.point.interfaceIndex),
                        frame(edge, isFromPod: false)))
                let namespace = try tap.file.open()
                sources.append(
                    Source(
                        PacketSender(
                            try Descriptor.packetSocket(inside: namespace), on: tap.podIndex),
                        frame(edge, isFromPod: true)))
            }
            var number = 0
            while !isOver.load(ordering: .relaxed) {
                for (index, source) in sources.enumerated() {
                    let mark = index << 24 | number
                    for byte in 0..<4 {
                        source.frame[96 + byte] = UInt8(truncatingIfNeeded: mark >> (24 - 8 * byte))
                    }
                    try source.sender.send(source.frame)
                }
                number += 1
                rounds.store(number, ordering: .relaxed)
                sleep(until: .now + .milliseconds(4))
            }
        }

        /// A UDP packet with a bad checksum, to which nobody replies.
        private func frame(_ edge: Edge, isFromPod: Bool) -> [UInt8] {
            var frame = [UInt8](repeating: 7, count: 100)
            let outside: [UInt8] = [192, 0, 2, 1]
            let pod: [UInt8] = [10, 244, 0, UInt8((Int(edge.name.dropFirst(4)) ?? 0) + 1)]
            frame.replaceSubrange(0..<14, with: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0])
            frame.replaceSubrange(
                14..<42,
                with: [0x45, 0, 0, 86, 0, 0, 0, 0, 64, 17, 0, 0] + (isFromPod ? pod : outside)
                    + (isFromPod ? outside : pod) + [0, 9, 0, 9, 0, 66, 0, 0])
            return frame
        }

        /// The packets that were sent, by the sender's number.
        var counts: [Int] {
            [Int](repeating: rounds.load(ordering: .relaxed), count: 2 * edgeCount)
        }

        func end() {
            isOver.store(true, ordering: .relaxed)
            thread.withLock { $0.take() }?.take()?.join()
        }
    }
}
