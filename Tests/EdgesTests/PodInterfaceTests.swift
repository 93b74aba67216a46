import Addressing
import Edges
import KernelSupport
import Linux
import Logging
import Netlink
import Observation
import Settings
import Synchronization
import Testing

@Suite(
    "Interfaces of pods without a host end", .serialized, .needsOwnNetwork, .timeLimit(.minutes(15))
)
struct PodInterfaceTests {
    private static func settings(_ folder: PodFolder) -> TapSettings {
        TapSettings(namespaceFolder: folder.path, includesPodInterfaces: true)
    }

    /// Makes a parent, and a pod `one` with a pair and two macvlans.
    private static func makePods() throws -> PodFolder {
        let pods = try PodFolder()
        try shell("ip link add up0 index 50 type veth peer name far && ip link set up0 up")
        try pods.addPod("one", host: "v1", hostIndex: 101)
        try shell(
            """
            ip link add m1 link up0 type macvlan mode bridge
            ip link set m1 netns \(pods.file("one")) name net1
            nsenter --net=\(pods.file("one")) sh -c "
                ip addr add 10.99.0.1/24 dev net1; ip link set net1 up
                ip link add inner link eth0 type macvlan
                ip link add br0 type bridge; ip link add tap0 type veth peer name tap1"
            """)
        return pods
    }

    @Test("are edges of their own, captured inside, in the domain of their parent")
    func edges() throws {
        try inOwnNetwork {
            let pods = try Self.makePods()
            try pods.addNamespace("two")
            try shell(
                """
                ip link add net1 link up0 netns \(pods.file("two")) type macvlan mode bridge
                nsenter --net=\(pods.file("two")) ip addr add 10.99.0.2/24 dev net1
                """)
            let node = try Node.read(EdgeSelection(), taps: Self.settings(pods))
            let hostless = node.veths.filter(\.isPodInterface)
            // Not what is made on an interface of the pod itself, and no bridge or pair in it.
            #expect(hostless.map(\.link.name) == ["net1@one", "net1@two"])
            #expect(hostless.map(\.isCaptured) == [true, true])
            #expect(
                hostless.map { $0.podAddresses?.filter { !$0.isLinkLocalIPv6 } }
                    == [[IPAddress(ipv4: 0x0a63_0001)], [IPAddress(ipv4: 0x0a63_0002)]])
            let edges = node.edges.filter { $0.tap.podTap?.hasHostEnd == false }
            #expect(edges.map(\.isUp) == [true, false])
            #expect(edges.map(\.point.bridge) == [50, 50])
            #expect(edges.map(\.point.hasOtherPorts) == [true, true])
            #expect(edges[0].point.domain == edges[1].point.domain)
            // The pair is captured at the host's end, as it is set.
            #expect(node.veths.first { $0.link.name == "v1" }?.tap == .host)
            #expect(
                node.links.keys.contains(50) && !node.links.keys.contains(hostless[0].link.index))
        }
    }

    @Test("are left out unless they are asked for, and if their addresses are no pods'")
    func selection() throws {
        try inOwnNetwork {
            let pods = try Self.makePods()
            let without = try Node.read(
                EdgeSelection(), taps: TapSettings(.pod, namespaceFolder: pods.path))
            #expect(without.veths.filter(\.isPodInterface) == [])
            let elsewhere = EdgeSelection(podNetworks: [IPNetwork("10.244.0.0/16")!])
            let node = try Node.read(elsewhere, taps: Self.settings(pods))
            #expect(
                node.veths.filter(\.isPodInterface).map(\.status) == [.outsidePodNetworks])
        }
    }

    @Test("come with their pods and go with their pods' files")
    func life() throws {
        try inOwnNetwork {
            let pods = try Self.makePods()
            var monitor = try NodeMonitor(
                EdgeSelection(), taps: Self.settings(pods),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let stop = try Event()
            let number = stop.fileDescriptor
            let deadline = try Thread {
                _ = try? poll([(number, .readable)], milliseconds: 120_000)
                Event.raise(number)
            }
            let hasGone = Mutex(false)
            let incarnations = Mutex<Set<UInt64>>([])
            try monitor.run(until: number) { node in
                let interfaces = node.veths.filter(\.isPodInterface)
                incarnations.withLock { $0.formUnion(interfaces.map(\.incarnation)) }
                if interfaces.map(\.link.name) == ["net1@one"] { try? pods.remove("one") }
                if interfaces.isEmpty, incarnations.withLock({ !$0.isEmpty }) {
                    hasGone.withLock { $0 = true }
                    Event.raise(number)
                }
            }
            deadline.join()
            let (isGone, seen) = (hasGone.withLock { $0 }, incarnations.withLock { $0 })
            #expect(isGone)
            // It was one and the same all the time.
            #expect(seen.count == 1)
        }
    }
}
