import Addressing
import Edges
import Glibc
import KernelSupport
import Linux
import Logging
import Metrics
import Netlink
import Observation
import Settings
import Synchronization
import Testing
import Time

/// The monitor of a node that changes.
@Suite("A node monitor", .serialized, .needsOwnNetwork, .timeLimit(.minutes(15)))
struct NodeMonitorTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Runs a monitor until the node is as it should be.
    ///
    /// - Returns: The node, and how often events were lost.
    private func monitor(
        bufferByteCount: Int, _ change: String, until isDone: @escaping @Sendable (Node) -> Bool
    ) throws -> (node: Node, resyncCount: Int) {
        let status = NodeStatus()
        var monitor = try NodeMonitor(
            EdgeSelection(), logger: Self.quiet, status: status, bufferByteCount: bufferByteCount)
        // Nobody reads while all of this happens.
        try shell(change)
        let stop = try Event()
        let stopNumber = stop.fileDescriptor
        // A monitor that misses something must not wait for ever.
        let deadline = try Thread {
            _ = try? poll([(stopNumber, .readable)], milliseconds: 120_000)
            Event.raise(stopNumber)
        }
        let last = Mutex(monitor.node)
        try monitor.run(until: stop.fileDescriptor) { node in
            last.withLock { $0 = node }
            if isDone(node) { Event.raise(stopNumber) }
        }
        deadline.join()
        return (last.withLock { $0 }, Int(status.resyncs.value))
    }

    private static let burst = """
        ip netns add nw$$ && ip netns exec nw$$ true
        for i in $(seq 1 60); do
            echo "link add v$i type veth peer name p$i netns nw$$"
            echo "link set v$i up"
        done | ip -batch -
        for i in $(seq 1 2 60); do echo "link del v$i"; done | ip -batch -
        ip link set v2 name renamed
        ip link set v4 down
        ip netns del nw$$-none 2>/dev/null || true
        """

    private static let tearDown =
        "for ns in $(ip netns list | cut -d' ' -f1 | grep ^nw); do ip netns del $ns; done"

    @Test(
        "knows the node, event by event or after events were lost", arguments: [4 << 20, 4096])
    func burst(bufferByteCount: Int) throws {
        try inOwnNetwork {
            defer { try? shell(Self.tearDown) }
            let (node, resyncCount) = try monitor(bufferByteCount: bufferByteCount, Self.burst) {
                $0.capturedVeths.count == 30
            }
            #expect((resyncCount > 0) == (bufferByteCount == 4096))
            let names = Set(node.capturedVeths.map(\.link.name))
            let even = stride(from: 6, through: 60, by: 2).map { "v\($0)" }
            #expect(names == Set(["renamed", "v4"] + even))
            #expect(node.capturedVeths.filter { !$0.link.isUp }.map(\.link.name) == ["v4"])
            #expect(Set(node.capturedVeths.map(\.incarnation)).count == 30)
        }
    }

    @Test("sees addresses that change inside pods, where the kernel may report them")
    func silentAddress() throws {
        try inOwnNetwork {
            defer { try? shell(Self.tearDown) }
            try shell(
                """
                ip netns add nw$$ && ip link add v type veth peer name p netns nw$$
                ip link set v up && ip -n nw$$ link set p up && echo nw$$ >/tmp/nw-test
                """)
            var monitor = try NodeMonitor(EdgeSelection(), logger: Self.quiet)
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            // Long after the times at which the pod is asked by itself.
            let change = try Thread {
                _ = try? poll([(stopNumber, .readable)], milliseconds: 1500)
                try? shell("ip -n $(cat /tmp/nw-test) addr add 10.244.7.7/24 dev p")
                _ = try? poll([(stopNumber, .readable)], milliseconds: 60_000)
                Event.raise(stopNumber)
            }
            let found = Mutex(false)
            try monitor.run(until: stop.fileDescriptor) { node in
                let isThere = node.capturedVeths.contains { edge in
                    edge.podAddresses?.contains { "\($0)" == "10.244.7.7" } ?? false
                }
                guard isThere else { return }
                found.withLock { $0 = true }
                Event.raise(stopNumber)
            }
            change.join()
            let isFound = found.withLock { $0 }
            #expect(isFound)
        }
    }

    @Test("learns what a bridge learns, and looks into what captures have seen")
    func learned() throws {
        try inOwnNetwork {
            defer { try? shell(Self.tearDown) }
            try shell(
                """
                ip link add br0 type bridge && ip link set br0 up
                ip netns add nw$$ && ip link add v type veth peer name p netns nw$$
                ip link set v master br0 up && ip -n nw$$ link set p up && echo nw$$ >/tmp/nw-fdb
                until bridge link show dev v | grep -q forwarding; do sleep 0.01; done
                bridge fdb add 02:00:00:00:00:01 dev v master dynamic
                """)
            var monitor = try NodeMonitor(EdgeSelection(), logger: Self.quiet)
            let sightings = Sightings()
            let edge = try #require(monitor.node.capturedVeths.first)
            let first = MACAddress(value: 0x0200_0000_0001)
            let podMAC = try #require(edge.podMAC)
            #expect(edge.macs.contains(first) && edge.macs.contains(podMAC))
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            // Long after the times at which the pod is asked by itself.
            let change = try Thread {
                _ = try? poll([(stopNumber, .readable)], milliseconds: 1500)
                try? shell(
                    """
                    bridge fdb add 02:00:00:00:00:02 dev v master dynamic
                    bridge fdb del 02:00:00:00:00:01 dev v master
                    ip -n $(cat /tmp/nw-fdb) addr add 172.31.0.1/32 dev lo
                    ip -n $(cat /tmp/nw-fdb) link add link p name mac0 type macvlan mode bridge
                    ip -n $(cat /tmp/nw-fdb) link set mac0 address 02:00:00:00:00:03
                    """)
                // Nothing tells what has changed in the pod but what it sends.
                sightings.recordUnknownMAC(at: edge.link.index)
                _ = try? poll([(stopNumber, .readable)], milliseconds: 60_000)
                Event.raise(stopNumber)
            }
            let wanted = (1...3).map { MACAddress(value: 0x0200_0000_0000 + $0) }
            let found = Mutex(false)
            try monitor.run(until: stop.fileDescriptor, sightings: sightings) { node in
                guard let edge = node.capturedVeths.first,
                    wanted.allSatisfy({ edge.macs.contains($0) }),
                    edge.otherAddresses.map(\.description) == ["172.31.0.1"]
                else { return }
                found.withLock { $0 = true }
                Event.raise(stopNumber)
            }
            change.join()
            let isFound = found.withLock { $0 }
            #expect(isFound)
        }
    }

    @Test("sleeps between its looks at namespaces while files come and go without end")
    func filesWithoutEnd() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            try pods.addPod("p1", host: "v1", hostIndex: 101)
            var monitor = try NodeMonitor(
                EdgeSelection(), taps: TapSettings(.pod, namespaceFolder: pods.path),
                logger: Self.quiet)
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            let path = pods.file("restless")
            let churn = try Thread {
                // The names change all the time, so the folder's descriptor is readable all the time.
                for _ in 0..<20_000 {
                    _ = try? Descriptor(creating: path)
                    try? removeFile(path)
                }
                Event.raise(stopNumber)
            }
            var wakeCount = 0
            let begin = MonotonicTime.now
            try monitor.run(until: stop.fileDescriptor, onWake: { wakeCount += 1 }) { _ in }
            let intervalCount = Int((MonotonicTime.now - begin) / .milliseconds(10))
            churn.join()
            // Two for each look: the time for one has come, and there is something to look at.
            #expect(wakeCount > 2 && wakeCount < 3 * intervalCount + 50)
            #expect(monitor.node.capturedVeths.map(\.tap.side.rawValue) == ["pod"])
        }
    }

    @Test("knows the node after a storm of events that goes on while it is read")
    func storm() throws {
        try inOwnNetwork {
            defer { try? shell(Self.tearDown) }
            try shell("ip netns add nw$$ && echo nw$$ >/tmp/nw-storm")
            let status = NodeStatus()
            var monitor = try NodeMonitor(
                EdgeSelection(), logger: Self.quiet, status: status, bufferByteCount: 4096)
            // Nobody reads the first of it, so some is lost.
            try shell(
                """
                for i in $(seq 1 30); do
                    echo "link add first$i type veth peer name pf$i netns $(cat /tmp/nw-storm)"
                done | ip -batch -
                """)
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            let last = Mutex(monitor.node)
            let storm = try Thread {
                defer { Event.raise(stopNumber) }
                try? shell(
                    """
                    n=$(cat /tmp/nw-storm)
                    for turn in $(seq 1 20); do
                        for i in $(seq 1 10); do
                            echo "link add v$turn-$i type veth peer name p$turn-$i netns $n"
                            echo "link set v$turn-$i up"
                            echo "link del v$turn-$(($i % 7))"
                        done | ip -force -batch - 2>/dev/null
                    done
                    """)
                let deadline = MonotonicTime.now + .seconds(60)
                while MonotonicTime.now < deadline,
                    let now = try? Node.read(EdgeSelection()),
                    Self.names(last.withLock { $0 }) != Self.names(now)
                {
                    sleep(until: .now + .milliseconds(50))
                }
            }
            try monitor.run(until: stop.fileDescriptor) { node in last.withLock { $0 = node } }
            storm.join()
            let names = Self.names(monitor.node)
            #expect(names == Self.names(try Node.read(EdgeSelection())))
            #expect(names.count > 20 && status.resyncs.value > 0)
        }
    }

    private static func names(_ node: Node) -> Set<String> {
        Set(node.capturedVeths.map(\.link.name))
    }
}
