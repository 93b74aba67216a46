import Addressing
import Forwarding
import KernelSupport
import Linux
import RPCAP
import Synchronization
import Testing
import Time

@Suite("Datagrams of a stream", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct DatagramStreamTests {
    private static func stream(_ format: DatagramWriter.Format = .udpstr) throws -> DatagramStream {
        try DatagramStream(
            to: try Datagrams.address("127.0.0.1", Datagrams.there),
            from: Datagrams.here...Datagrams.here, as: format)
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

    @Test("become shorter when the route does, and the stream goes on")
    func routeShrinks() throws {
        try inOwnNetwork {
            try shell("ip link set lo mtu 1500")
            let receiver = try Datagrams.receiver()
            let stream = try Self.stream()
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            for _ in 0..<5 { Self.append(1472 - 28, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, now: .now, counters))
            #expect(
                try Datagrams.received(receiver).map(\.count) == Array(repeating: 1472, count: 5))
            try shell("ip link set lo mtu 1000")
            for _ in 0..<10 { Self.append(1000, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, now: .now, counters))
            let lost = counters[.datagramsTooLarge]
            #expect(lost > 0)
            for _ in 0..<10 { Self.append(1000, to: &queue) }
            #expect(stream.send(from: &queue, isLast: true, now: .now, counters))
            #expect(try Datagrams.received(receiver).map(\.count).max() == 972)
            #expect(counters[.datagramsTooLarge] == lost)
            #expect(counters[.datagramsFailed] == 0)
            #expect(queue.byteCount == 0 && stream.waitingByteCount == 0)
        }
    }

    @Test("go on being sent to a port where nobody listens, and are heard when somebody does")
    func nobodyListens() throws {
        try inOwnNetwork {
            try Datagrams.awaitErrors()
            let stream = try Self.stream(.packet)
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            for _ in 0..<200 { Self.append(60, to: &queue) }
            #expect(stream.send(from: &queue, isLast: false, now: .now, counters))
            #expect(try poll([(stream.fileDescriptor, .readable)], milliseconds: 1000)[0] != [])
            stream.takeReceived(counters)
            #expect(counters[.datagramsSent] == 200)
            #expect(counters[.datagramsRefused] > 0)
            #expect(counters[.datagramsFailed] == 0)
            #expect(try poll([(stream.fileDescriptor, .readable)], milliseconds: 0)[0] == [])
            let receiver = try Datagrams.receiver()
            for _ in 0..<100 { Self.append(60, to: &queue) }
            #expect(stream.send(from: &queue, isLast: false, now: .now, counters))
            #expect(
                try Datagrams.received(receiver).map(\.count) == Array(repeating: 88, count: 100))
        }
    }

    @Test("that are not full wait for a while, and not for ever")
    func waits() throws {
        try inOwnNetwork {
            let receiver = try Datagrams.receiver()
            let stream = try Self.stream()
            var queue = try ByteQueue(byteCountMax: 1 << 20)
            let counters = CaptureCounters()
            #expect(stream.dueAt == nil)
            Self.append(60, to: &queue)
            #expect(stream.send(from: &queue, isLast: false, now: .now, counters))
            #expect(counters[.datagramsSent] == 0)
            let due = try #require(stream.dueAt)
            #expect(due <= .now + .milliseconds(50))
            let early = due - .nanoseconds(1)
            #expect(stream.send(from: &queue, isLast: false, now: early, counters))
            #expect(try Datagrams.received(receiver).isEmpty)
            #expect(stream.send(from: &queue, isLast: false, now: due, counters))
            #expect(try Datagrams.received(receiver, count: 1).map(\.count) == [88])
            #expect(stream.dueAt == nil && queue.byteCount == 0)
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
            #expect(stream.send(from: &queue, isLast: true, now: .now, counters))
            #expect(counters[.datagramsFailed] == 7)
            #expect(counters[.datagramsSent] == 0)
            #expect(queue.byteCount == 0 && stream.waitingByteCount == 0)
        }
    }

    @Test("wait in the queue while the interface is slow, and none is lost")
    func slow() throws {
        try inOwnNetwork {
            let receiver = try Datagrams.receiver()
            let stream = try Self.stream()
            try shell("tc qdisc add dev lo root tbf rate 1mbit burst 10k limit 100m")
            var queue = try ByteQueue(byteCountMax: 16 << 20)
            let counters = CaptureCounters()
            for _ in 0..<8000 { Self.append(1444, to: &queue) }
            #expect(!stream.send(from: &queue, isLast: false, now: .now, counters))
            #expect(queue.byteCount > 0 && stream.waitingByteCount > 0)
            #expect(stream.dueAt == nil)
            #expect(try poll([(stream.fileDescriptor, .writable)], milliseconds: 0)[0] == [])
            try shell("tc qdisc del dev lo root")
            #expect(
                try poll([(stream.fileDescriptor, .writable)], milliseconds: 1000)[0] == .writable)
            #expect(stream.send(from: &queue, isLast: false, now: .now, counters))
            #expect(counters[.datagramsSent] == 8000)
            #expect(receiver.peer.port == Datagrams.here)
            #expect(counters[.datagramsFailed] == 0)
        }
    }
}
