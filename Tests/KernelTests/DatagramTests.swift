import Agent
import Frames
import Glibc
import Kernel
import RPCAP
import Synchronization
import Testing

@Suite("Datagrams on a loopback", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct DatagramTests {
    static let hosts = ["127.0.0.1", "::1"]

    /// The two ends of a conversation, each at a port of its own.
    private static let here: UInt16 = 20_000
    private static let there: UInt16 = 20_001

    private static func address(_ host: String, _ port: UInt16) throws -> SocketAddress {
        SocketAddress(try #require(IPAddress(host)), port: port)
    }

    private static func sender(
        _ host: String = "127.0.0.1", _ fragmentation: DatagramSender.Fragmentation = .refused
    ) throws -> DatagramSender {
        try DatagramSender(
            to: try address(host, there), from: here...here, fragmentation: fragmentation)
    }

    private static func receiver(_ host: String = "127.0.0.1") throws -> DatagramSender {
        try DatagramSender(
            to: try address(host, here), from: there...there, fragmentation: .allowed)
    }

    private static func stream(_ format: DatagramWriter.Format = .udpstr) throws -> DatagramStream {
        try DatagramStream(to: try address("127.0.0.1", there), from: here...here, as: format)
    }

    /// The lengths of what arrives, until so many have or nothing more comes.
    private static func received(
        _ receiver: borrowing DatagramSender, count: Int = .max
    ) throws -> [[UInt8]] {
        var datagrams: [[UInt8]] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while datagrams.count < count,
            try poll([(receiver.number, .readable)], milliseconds: 300)[0].contains(.readable)
        {
            let length = unsafe recv(receiver.number, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            if length >= 0 { datagrams.append(Array(buffer[..<length])) }
        }
        return datagrams
    }

    private static func fill(_ batch: inout DatagramBatch, _ lengths: [Int]) {
        for (index, length) in lengths.enumerated() {
            var room = batch.room
            for offset in 0..<length {
                room.storeBytes(of: UInt8(index), toByteOffset: offset, as: UInt8.self)
            }
            batch.append(byteCount: length)
        }
    }

    @Test("arrive in order, as long as they were", arguments: hosts)
    func arrive(host: String) throws {
        try inOwnNetwork {
            let receiver = try Self.receiver(host)
            let sender = try Self.sender(host)
            #expect(sender.local.port == Self.here)
            var batch = DatagramBatch()
            let lengths = (0..<DatagramBatch.countMax).map { $0 * 20 }
            for _ in 0..<3 {
                Self.fill(&batch, lengths)
                let hasRoom = batch.hasRoom(for: 1)
                #expect(!hasRoom)
                #expect(sender.send(&batch) == .sent(lengths.count))
                #expect(batch.isEmpty && batch.byteCount == 0)
                let seen = try Self.received(receiver, count: lengths.count)
                #expect(
                    seen == lengths.enumerated().map { [UInt8](repeating: UInt8($0), count: $1) })
            }
        }
    }

    @Test("come from the first port that is free")
    func ports() throws {
        try inOwnNetwork {
            let peer = try Self.address("127.0.0.1", 9)
            func open(_ ports: ClosedRange<UInt16>) throws -> DatagramSender {
                try DatagramSender(to: peer, from: ports, fragmentation: .refused)
            }
            let first = try open(3000...3001)
            let second = try open(3000...3001)
            #expect([first.local.port, second.local.port] == [3000, 3001])
            #expect(throws: SystemError("bind ports 3000 to 3001", EADDRINUSE)) {
                _ = try open(3000...3001)
            }
            #expect(first.local.address == IPAddress("127.0.0.1"))
        }
    }

    /// Waits until the kernel tells of ports that are closed. It does if it can: what happens in other
    /// networks may use up what it has for that.
    private static func awaitErrors() throws {
        for _ in 0..<600 {
            let probe = try sender()
            var batch = DatagramBatch()
            fill(&batch, [1])
            _ = probe.send(&batch)
            if try poll([(probe.number, .readable)], milliseconds: 100)[0] != [] { return }
        }
    }

    @Test("are refused where the port is closed, and arrive when it is open")
    func refused() throws {
        try inOwnNetwork {
            try Self.awaitErrors()
            let sender = try Self.sender()
            var batch = DatagramBatch()
            Self.fill(&batch, [1, 2])
            #expect(sender.send(&batch) == .sent(1))
            #expect(sender.send(&batch) == .sent(1))
            Self.fill(&batch, [3])
            #expect(sender.send(&batch) == .failed(ECONNREFUSED))
            #expect(batch.count == 1)
            let receiver = try Self.receiver()
            #expect(sender.send(&batch) == .sent(1))
            #expect(try Self.received(receiver, count: 1).map(\.count) == [3])
            #expect(sender.takeReceived() == 0)
        }
    }

    @Test("are no longer than the route carries, unless they may be cut", arguments: hosts)
    func tooLong(host: String) throws {
        try inOwnNetwork {
            try shell("ip link set lo mtu 1400")
            let receiver = try Self.receiver(host)
            var batch = DatagramBatch()
            do {
                let sender = try Self.sender(host)
                let most = try sender.payloadByteCountMax()
                #expect(most == 1400 - (host == "::1" ? 48 : 28))
                Self.fill(&batch, [most, most + 1])
                #expect(sender.send(&batch) == .sent(1))
                #expect(sender.send(&batch) == .failed(EMSGSIZE))
                batch.removeFirst(1)
            }
            let sender = try Self.sender(host, .allowed)
            Self.fill(&batch, [DatagramWriter.payloadByteCountMax])
            #expect(sender.send(&batch) == .sent(1))
            let seen = try Self.received(receiver, count: 2)
            #expect(seen.map(\.count).max() == DatagramWriter.payloadByteCountMax)
        }
    }

    /// Puts a packet into the queue as the pipeline does.
    private static func append(_ frameByteCount: Int, to queue: inout ByteQueue) {
        let hasRoom = queue.hasRoom(for: PacketRecord.headerByteCount + frameByteCount)
        precondition(hasRoom)
        var record = queue.extend(by: PacketRecord.headerByteCount)
        PacketRecord.store(
            into: &record, nanoseconds: 1, byteCount: frameByteCount,
            wireByteCount: frameByteCount, number: 1)
        queue.append([UInt8](repeating: 7, count: frameByteCount).wire)
    }

    private static func count(_ counter: borrowing Atomic<UInt64>) -> UInt64 {
        counter.load(ordering: .relaxed)
    }

    @Test("become shorter when the route does, and the stream goes on")
    func routeShrinks() throws {
        try inOwnNetwork {
            try shell("ip link set lo mtu 1500")
            let receiver = try Self.receiver()
            let stream = try Self.stream()
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            for _ in 0..<5 { Self.append(1472 - 28, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, counters))
            #expect(try Self.received(receiver).map(\.count) == Array(repeating: 1472, count: 5))
            try shell("ip link set lo mtu 1000")
            for _ in 0..<10 { Self.append(1000, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, counters))
            let lost = Self.count(counters.datagramsTooLarge)
            #expect(lost > 0)
            for _ in 0..<10 { Self.append(1000, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, counters))
            #expect(try Self.received(receiver).map(\.count).max() == 972)
            #expect(Self.count(counters.datagramsTooLarge) == lost)
            #expect(Self.count(counters.datagramsFailed) == 0)
            #expect(queue.byteCount == 0 && stream.waitingByteCount == 0)
        }
    }

    @Test("go on being sent to a port where nobody listens, and are heard when somebody does")
    func nobodyListens() throws {
        try inOwnNetwork {
            try Self.awaitErrors()
            let stream = try Self.stream(.packet)
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            for _ in 0..<200 { Self.append(60, to: &queue) }
            #expect(stream.send(from: &queue, isLast: false, counters))
            #expect(try poll([(stream.number, .readable)], milliseconds: 1000)[0] != [])
            stream.takeReceived(counters)
            #expect(Self.count(counters.datagramsSent) == 200)
            #expect(Self.count(counters.datagramsRefused) > 0)
            #expect(Self.count(counters.datagramsFailed) == 0)
            #expect(try poll([(stream.number, .readable)], milliseconds: 0)[0] == [])
            let receiver = try Self.receiver()
            for _ in 0..<100 { Self.append(60, to: &queue) }
            #expect(stream.send(from: &queue, isLast: false, counters))
            #expect(try Self.received(receiver).map(\.count) == Array(repeating: 88, count: 100))
        }
    }

    @Test("that are not full wait for a while, and not for ever")
    func waits() throws {
        try inOwnNetwork {
            let receiver = try Self.receiver()
            let stream = try Self.stream()
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            #expect(stream.dueMilliseconds == nil)
            Self.append(60, to: &queue)
            #expect(stream.send(from: &queue, isLast: false, counters))
            #expect(Self.count(counters.datagramsSent) == 0)
            let due = try #require(stream.dueMilliseconds)
            #expect((0...50).contains(due))
            #expect(try poll([(receiver.number, .readable)], milliseconds: due)[0] == [])
            #expect(stream.send(from: &queue, isLast: false, counters))
            #expect(try Self.received(receiver, count: 1).map(\.count) == [88])
            #expect(stream.dueMilliseconds == nil && queue.byteCount == 0)
        }
    }

    @Test("that a firewall refuses are counted, and nothing waits for them")
    func blocked() throws {
        try inOwnNetwork {
            let stream = try Self.stream()
            try shell("iptables -A OUTPUT -p udp -j DROP")
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            for _ in 0..<10 { Self.append(1000, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, counters))
            #expect(Self.count(counters.datagramsFailed) == 7)
            #expect(Self.count(counters.datagramsSent) == 0)
            #expect(queue.byteCount == 0 && stream.waitingByteCount == 0)
        }
    }

    @Test("wait in the queue while the interface is slow, and none is lost")
    func slow() throws {
        try inOwnNetwork {
            let receiver = try Self.receiver()
            let stream = try Self.stream()
            try shell("tc qdisc add dev lo root tbf rate 1mbit burst 10k limit 100m")
            var queue = try ByteQueue(byteCountMax: 16 << 20)
            let counters = CaptureCounters()
            for _ in 0..<8000 { Self.append(1444, to: &queue) }
            #expect(!stream.send(from: &queue, isLast: false, counters))
            #expect(queue.byteCount > 0 && stream.waitingByteCount > 0)
            #expect(stream.dueMilliseconds == nil)
            #expect(try poll([(stream.number, .writable)], milliseconds: 0)[0] == [])
            try shell("tc qdisc del dev lo root")
            #expect(try poll([(stream.number, .writable)], milliseconds: 1000)[0] == .writable)
            #expect(stream.send(from: &queue, isLast: false, counters))
            #expect(Self.count(counters.datagramsSent) == 8000)
            #expect(receiver.peer.port == Self.here)
            #expect(Self.count(counters.datagramsFailed) == 0)
        }
    }
}
