import Addressing
import CLinux
import Glibc
import KernelSupport
import Linux
import Log
import Logging
import Netlink
import Opener
import Synchronization
import Taps
import Testing
import Time

@Suite("The opener", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct OpenerTests {
    @Test("is allowed to do its work as root")
    func rights() throws {
        try inOwnNetwork { try PodSocketOpener.tryRights() }
    }

    @Test("opens a socket that hears the pod's interface, and no other")
    func socketInside() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 2)
            let socket = try site.open("p1")
            let other = try site.open("p2")
            try bindAll(socket, to: 2)
            try bindAll(other, to: 2)
            let index = try interfaceIndex("v1")
            let frame: [UInt8] =
                [UInt8](repeating: 0xff, count: 6) + [2, 0, 0, 0, 0, 9, 0x88, 0xb5]
                + [UInt8](repeating: 7, count: 46)
            try PacketSender(on: index).send(frame)
            #expect(try received(socket) == frame)
            #expect(try received(other, until: .now) == nil)
        }
    }

    @Test("opens sockets for 250 edges")
    func many() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            let begin = MonotonicTime.now
            for _ in 0..<250 { _ = try site.open("p1") }
            // For a debug build on a machine with a load of 20; on a quiet one it takes 100 ms.
            #expect(MonotonicTime.now - begin < .seconds(20))
        }
    }

    @Test("refuses what does not mean one pod in all its parts")
    func contradictions() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 2)
            let id = try #require(site.namespaceID(of: "p1"))
            let otherID = try #require(site.namespaceID(of: "p2"))
            try shell("ip link add br0 index 300 type bridge")
            let requests = [
                // Another pod's id, host end, and index inside.
                PodSocketRequest(hostIndex: 101, namespaceID: otherID, podIndex: 2),
                PodSocketRequest(hostIndex: 102, namespaceID: id, podIndex: 2),
                PodSocketRequest(hostIndex: 101, namespaceID: id, podIndex: 1),
                // An interface that leads to no pod, and none at all.
                PodSocketRequest(hostIndex: 300, namespaceID: id, podIndex: 2),
                PodSocketRequest(hostIndex: 400, namespaceID: id, podIndex: 2),
                PodSocketRequest(hostIndex: .max >> 1, namespaceID: id, podIndex: 2),
            ]
            for request in requests {
                #expect(try site.failure(request, "p1")?.reason == .gone, "\(request)")
            }
            _ = try site.open("p1")
        }
    }

    @Test("refuses its own namespace, files that are none, and interfaces without a host end")
    func refusals() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            let opener = try PodSocketOpener(opensPodInterfaces: false)
            let request = try site.request("p1")
            for path in ["/proc/thread-self/ns/net", "/proc/self/ns/uts", "/dev/null"] {
                let file = try Descriptor(reading: path)
                #expect(throws: PodSocketOpener.Failure(.namespace, .invalidArgument)) {
                    _ = try opener.open(request, file)
                }
            }
            let hostless = PodSocketRequest(
                hostIndex: 0, namespaceID: request.namespaceID, podIndex: 2)
            #expect(try site.failure(hostless, "p1") == .refused(.permission, .notPermitted))
            #expect(try site.failure(hostless, "p1")?.advice.contains("--pod-interfaces") == true)
            let namespace = try Descriptor(reading: site.pods.file("p1"))
            _ = try PodSocketOpener(opensPodInterfaces: true).open(hostless, namespace)
        }
    }

    @Test("opens nothing for a pod whose id and interface another has taken over")
    func reuse() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            let stale = try site.request("p1")
            let file = try site.file("p1")
            let opener = try PodSocketOpener(opensPodInterfaces: false)
            // The request is under way while the pod goes and another one comes in its place.
            let held = try file.open()
            try site.pods.remove("p1")
            try shell("ip link del v1")
            try site.pods.addPod("p1", host: "v1", hostIndex: 101)
            #expect(throws: PodSocketOpener.Failure(.link, .staleFileHandle)) {
                _ = try opener.open(stale, held)
            }
            // The new one has another id, since the old namespace is held.
            let new = try Descriptor(reading: site.pods.file("p1"))
            #expect(throws: PodSocketOpener.Failure(.identifier, .staleFileHandle)) {
                _ = try opener.open(stale, new)
            }
            let current = try site.request("p1")
            #expect(current.namespaceID != stale.namespaceID)
            _ = try opener.open(current, new)
        }
    }

    @Test("opens nothing for a stale request under an id that another pod has got")
    func reusedID() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            let stale = try site.request("p1")
            try site.pods.remove("p1")
            // The namespace and its id are free when the host's end is gone.
            let deadline = MonotonicTime.now + .seconds(60)
            while (try? interfaceIndex("v1")) != nil, MonotonicTime.now < deadline {
                sleep(until: .now + .milliseconds(10))
            }
            var hostIndex: UInt32 = 200
            repeat {
                hostIndex += 1
                try? site.pods.remove("p2")
                try site.pods.addPod("p2", host: "w\(hostIndex)", hostIndex: hostIndex)
            } while try site.request("p2").namespaceID != stale.namespaceID
                && MonotonicTime.now < deadline
            #expect(try site.request("p2").namespaceID == stale.namespaceID)
            #expect(try site.failure(stale, "p2")?.reason == .gone)
        }
    }

    @Test("lets a pod's namespace go with its last socket")
    func release() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            do {
                let socket = try site.open("p1")
                try site.pods.remove("p1")
                // The socket holds it.
                #expect(try socket.isPacketSocket())
                _ = try interfaceIndex("v1")
            }
            let deadline = MonotonicTime.now + .seconds(60)
            while (try? interfaceIndex("v1")) != nil, MonotonicTime.now < deadline {
                sleep(until: .now + .milliseconds(1))
            }
            #expect(throws: SystemError.self) { _ = try interfaceIndex("v1") }
        }
    }

    @Test("leaves no descriptor, thread or namespace behind after 200 pods")
    func leftovers() async {
        // A process of its own, in which no other test opens anything.
        await #expect(processExitsWith: .success) {
            try inOwnNetwork {
                let site = try Site(podCount: 1)
                _ = try site.open("p1")
                let before = try idleUses()
                for _ in 0..<20 {
                    for number in 2...11 {
                        try site.pods.addPod(
                            "p\(number)", host: "v\(number)", hostIndex: UInt32(100 + number))
                        _ = try site.open("p\(number)")
                        try site.pods.remove("p\(number)")
                    }
                    // The kernel removes the host's end with the namespace, which nothing must hold.
                    let deadline = MonotonicTime.now + .seconds(60)
                    while try output(of: "ip -br link show type veth | wc -l") != "1\n",
                        MonotonicTime.now < deadline
                    {}
                    #expect(try output(of: "ip -br link show type veth | wc -l") == "1\n")
                }
                #expect(try idleUses() == before)
            }
        }
    }

    @Test("serves an agent that comes back, whatever others have sent")
    func strangers() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            let request = try site.request("p1").bytes
            for (bytes, count) in [
                (Array("GET / HTTP/1.1".utf8), 1), (request, 0), (request, 2), (request + [0], 1),
                ([UInt8](repeating: 1, count: 1000), 1),
            ] {
                let stranger = try SequencedSocket(to: site.socket)
                try stranger.send(bytes, passing: [CInt](repeating: 0, count: count))
                try stranger.awaitMessage(until: .now + .seconds(60))
                #expect(try received(stranger) == [], "the opener closes the connection")
            }
            _ = try site.open("p1")
            // Others that only connect take the place of the oldest.
            var idle: [Idle] = []
            for _ in 0..<2 * OpenerServer.agentCountMax { idle.append(try Idle(site.socket)) }
            try site.client.probe()
            _ = try site.open("p1")
            withExtendedLifetime(idle) {}
        }
    }

    @Test("logs little, however many agents ask and leave")
    func lines() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            let lines = Lines()
            let opener = try RunningOpener(at: pods.file(".socket"), lines)
            defer { opener.end() }
            // For an interface without a host end, which this opener was not started for.
            let request = PodSocketRequest(hostIndex: 0, namespaceID: 0, podIndex: 1).bytes
            let own = try Descriptor(reading: "/proc/thread-self/ns/net")
            for _ in 0..<100 {
                let agent = try SequencedSocket(to: pods.file(".socket"))
                try agent.send(request, passing: [own.fileDescriptor])
                try agent.awaitMessage(until: .now + .seconds(60))
                #expect(try received(agent)?.isEmpty == false)
            }
            // Its answer comes after the others have been dropped.
            try PodSocketClient(path: pods.file(".socket")).probe()
            let lineCount = lines.texts.withLock { $0.count { $0.contains("disconnected") } }
            #expect((1...4).contains(lineCount), "one for each reason")
        }
    }

    @Test("in another network namespace is found to be there")
    func elsewhere() throws {
        try inOwnNetwork {
            let pods = try PodFolder()
            let opener = try RunningOpener(at: pods.file(".socket"))
            defer { opener.end() }
            let client = PodSocketClient(path: pods.file(".socket"))
            try client.probe()
            // This one was not started for interfaces without a host end, and says so.
            #expect(throws: PodSocketFailure.refused(.permission, .notPermitted)) {
                try client.probe(forPodInterfaces: true)
            }
            try inOwnNetwork {
                #expect(throws: PodSocketFailure.elsewhere) { try client.probe() }
            }
            #expect(PodSocketFailure.elsewhere.advice.contains("hostNetwork"))
        }
    }

    @Test("that is started anew is asked again without a failure")
    func restart() throws {
        try inOwnNetwork {
            let site = try Site(podCount: 1)
            _ = try site.open("p1")
            site.opener.end()
            let second = try RunningOpener(at: site.socket)
            _ = try site.open("p1")
            second.end()
            let failure = #expect(throws: PodSocketFailure.self) { _ = try site.open("p1") }
            #expect(failure?.reason == .opener)
            #expect(throws: PodSocketFailure.self) { try site.client.probe() }
        }
    }
}

/// A connection that says nothing.
private final class Idle {
    let connection: SequencedSocket
    init(_ path: String) throws { connection = try SequencedSocket(to: path) }
}

/// Pods `p1`, `p2` and on, whose host ends are `v1` with the index 101 and on, and an opener for them.
private final class Site {
    let pods: PodFolder
    let opener: RunningOpener
    let client: PodSocketClient
    private var folder: NamespaceFolder

    var socket: String { pods.file(".socket") }

    init(podCount: Int) throws {
        pods = try PodFolder()
        for number in 1...podCount {
            try pods.addPod("p\(number)", host: "v\(number)", hostIndex: UInt32(100 + number))
        }
        opener = try RunningOpener(at: pods.file(".socket"))
        client = PodSocketClient(path: pods.file(".socket"))
        folder = try NamespaceFolder(pods.path)
    }

    deinit { opener.end() }

    func namespaceID(of pod: String) -> Int32? {
        folder.read().files.first { $0.value.name == pod }?.key
    }

    func file(_ pod: String) throws -> NamespaceFile {
        try #require(folder.read().files.values.first { $0.name == pod })
    }

    /// The request of an agent that has just looked.
    func request(_ pod: String) throws -> PodSocketRequest {
        let id = try #require(namespaceID(of: pod))
        var netlink = try NetlinkSocket()
        let links = try netlink.links()
        let link = try #require(links.first { $0.peerNamespace == id })
        return PodSocketRequest(
            hostIndex: link.index, namespaceID: id, podIndex: try #require(link.peerIndex))
    }

    func open(_ pod: String) throws -> Descriptor {
        try client.open(request(pod), in: file(pod))
    }

    func failure(_ request: PodSocketRequest, _ pod: String) throws -> PodSocketFailure? {
        let file = try file(pod)
        do throws(PodSocketFailure) {
            _ = try client.open(request, in: file)
            return nil
        } catch {
            return error
        }
    }
}

/// The lines of a log.
private final class Lines: Sendable {
    let texts = Mutex<[String]>([])

    var logger: Logger {
        Logger(label: "test") { _ in
            LineLogHandler(level: .info, format: .text) { line in
                self.texts.withLock { $0.append(line(0)) }
            }
        }
    }
}

/// An opener on a thread of its own, in the network namespace of the thread that makes it.
private final class RunningOpener: Sendable {
    private let stop: StopSignal
    private let thread: Mutex<Thread?>

    init(at path: String, _ lines: Lines = Lines()) throws {
        let stop = try StopSignal()
        let isUp = try Event()
        let number = isUp.fileDescriptor
        let started = try Thread {
            guard
                let opener = try? PodSocketOpener(opensPodInterfaces: false),
                let server = try? OpenerServer(
                    at: path, opener, user: effectiveUser(), logger: lines.logger)
            else { return }
            Event.raise(number)
            try? server.run(until: stop)
        }
        _ = try poll([(number, .readable)], until: .now + .seconds(60))
        self.stop = stop
        thread = Mutex(consume started)
    }

    func end() {
        stop.give()
        thread.withLock { thread in thread.take()?.join() }
    }
}

/// The bytes of the next message, none if the connection is closed; nil if there is no message.
private func received(_ connection: borrowing SequencedSocket) throws -> [UInt8]? {
    guard let message = try connection.receive() else { return nil }
    return message.bytes
}

/// What `uses` returns when the opener has let go of what it has handed over, or after a minute.
private func idleUses() throws -> [Int] {
    let deadline = MonotonicTime.now + .seconds(60)
    var last: [Int] = []
    while true {
        let found = try uses()
        // A reading is not of one moment, so it has to be the same twice.
        if found == last && found[1...] == [0, 0] || MonotonicTime.now > deadline { return found }
        last = found
        sleep(until: .now + .milliseconds(10))
    }
}

/// The numbers of this process's sockets, open namespaces, and threads inside pods.
///
/// The runtime of the language has threads and descriptors of its own, which come and go.
private func uses() throws -> [Int] {
    let (files, tasks) = (try fileNames(in: "/proc/self/fd"), try fileNames(in: "/proc/self/task"))
    let targets = files.compactMap { try? linkTarget("/proc/self/fd/\($0)") }
    let threads = tasks.compactMap { try? readFile("/proc/self/task/\($0)/comm", byteCountMax: 64) }
    return [
        targets.count { $0.hasPrefix("socket:") }, targets.count { $0.hasPrefix("net:") },
        threads.count { $0 == Array("podwire-opener\n".utf8) },
    ]
}

/// Has a packet socket hear all frames of an interface.
private func bindAll(_ socket: borrowing Descriptor, to index: UInt32) throws {
    var address = sockaddr_ll()
    address.sll_family = UInt16(AF_PACKET)
    address.sll_protocol = UInt16(ETH_P_ALL).bigEndian
    address.sll_ifindex = CInt(index)
    let number = socket.fileDescriptor
    // Safety: bind(2) reads the address within its length.
    try unsafe withUnsafeBytes(of: address) { bytes in
        let name = unsafe bytes.baseAddress?.assumingMemoryBound(to: sockaddr.self)
        try call("bind") { unsafe bind(number, name, socklen_t(bytes.count)) }
    }
}

/// The next frame of a packet socket that somebody has sent with the tests' EtherType.
private func received(
    _ socket: borrowing Descriptor, until deadline: MonotonicTime = .now + .seconds(60)
) throws -> [UInt8]? {
    while try !poll([(socket.fileDescriptor, .readable)], until: deadline)[0].isEmpty {
        var bytes = [UInt8](repeating: 0, count: 2048)
        // Safety: the call writes at most as many bytes as the array has.
        let count = unsafe recv(socket.fileDescriptor, &bytes, bytes.count, CInt(MSG_DONTWAIT))
        guard count > 14 else { continue }
        if bytes[12] == 0x88, bytes[13] == 0xb5 { return Array(bytes.prefix(count)) }
    }
    return nil
}
