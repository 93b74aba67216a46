import Addressing
import CaptureFiles
import Collector
import Glibc
import Linux
import Logging
import RPCAP
import Testing
import Time

/// A feed, and readers on loopback that are like those of other programs.
@Suite("A feed of packets")
struct PacketFeedTests {
    private let device = SourceCounters(name: "a", description: "", linkType: 1, start: 0)
    private let feed: PacketFeed

    private static let loopback = IPAddress(ipv4: 0x7f00_0001)
    private static let headerByteCount = 24

    init() throws {
        var options = FeedOptions()
        options.address = SocketAddress(Self.loopback, port: 0)
        feed = try PacketFeed(options, snaplen: 262_144)
    }

    /// Connects a reader, which is served until the feed has dealt with it.
    private func connect() throws -> Connection {
        let local = try #require(feed.local)
        let connection = try Connection(
            to: local, until: .now + .seconds(10), cancel: Event())
        serve()
        return connection
    }

    /// Serves what is ready now.
    private func serve() {
        let requests = feed.requests(now: .now)
        guard let ready = try? poll(requests, until: .zero) else { return }
        feed.serve({ ready[$0] }, now: .now)
    }

    /// Gives the feed a packet.
    private func add(_ byteCount: Int) throws {
        var stream = PacketStream(snaplen: 262_144)
        var record: [UInt8] = [0, 7, 0, 0]
        record.append(bigEndian: UInt32(20 + byteCount))
        record += [0, 0, 0, 1, 0, 0, 0, 0]
        for length in [byteCount, byteCount, 1] { record.append(bigEndian: UInt32(length)) }
        stream.append((record + [UInt8](repeating: 7, count: byteCount))[...])
        #expect(try stream.next { feed.add($1, $0, of: device) })
    }

    /// Reads what comes until a number of bytes are there, or the stream has ended.
    private func read(_ byteCount: Int, from connection: borrowing Connection) throws -> Int {
        var (buffer, count) = ([UInt8](repeating: 0, count: 1 << 20), 0)
        while count < byteCount {
            let requests: [(fileDescriptor: CInt, interest: Readiness)] = [
                (connection.fileDescriptor, .readable)
            ]
            let ready: [Readiness] = try poll(requests, until: .now + .seconds(10))
            guard !ready[0].isEmpty, let received = try connection.receive(into: &buffer),
                received > 0
            else { break }
            count += received
            serve()
        }
        return count
    }

    private var served: OutputCounts {
        get throws { try #require(feed.counts.first) }
    }

    @Test("gives a reader the header and all packets from then on")
    func reader() throws {
        feed.announce(device)
        try add(100)
        let connection = try connect()
        try add(60)
        feed.deliver()
        let byteCount = try read(Self.headerByteCount + 76, from: connection)
        feed.finish(until: .now + .seconds(1))
        let restByteCount = try read(1, from: connection)
        #expect(byteCount == Self.headerByteCount + 76 && restByteCount == 0)
        #expect(try served.packetCount == 1 && served.lostCount == 0 && served.byteCount == 76)
    }

    @Test("gives the header to a reader that came first, once there is a link type")
    func early() throws {
        let connection = try connect()
        feed.deliver()
        let bytes = connection.peek(byteCountMax: 1)
        #expect(bytes == nil)
        feed.announce(device)
        let byteCount = try read(Self.headerByteCount, from: connection)
        #expect(byteCount == Self.headerByteCount)
    }

    @Test("costs a reader that stops its own packets, and another one none")
    func stopped() throws {
        feed.announce(device)
        let stopped = try connect()
        let other = try connect()
        let (packetCount, byteCount) = (600, 60_000)
        var readCount = 0
        for number in 1...packetCount {
            try add(byteCount)
            feed.deliver()
            let wanted = Self.headerByteCount + number * (byteCount + 16)
            readCount += try read(wanted - readCount, from: other)
        }
        #expect(readCount == Self.headerByteCount + packetCount * (byteCount + 16))
        let lost = try served.lostCount
        #expect(lost > 0 && lost < packetCount)
        #expect(try served.packetCount == UInt64(2 * packetCount) - lost)
        // What it has got so far are whole packets.
        let expected = Self.headerByteCount + (packetCount - Int(lost)) * (byteCount + 16)
        let stoppedCount = try read(expected, from: stopped)
        #expect(stoppedCount == expected)
    }

    @Test("refuses a reader too many, but not for one that has ended its side")
    func places() throws {
        let count = FeedOptions.readerCountMax
        let all = Readers()
        for _ in 0..<count { all.add(try connect()) }
        #expect(try served.readers?.present == count)
        let refused = try connect()
        let refusedCount = try read(1, from: refused)
        #expect(refusedCount == 0)
        #expect(try served.readers?.refused == 1 && served.readers?.connected == UInt64(count))
        all.endFirst()
        serve()
        let next = try connect()
        let bytes = next.peek(byteCountMax: 1)
        #expect(try bytes == nil && served.readers?.connected == UInt64(count) + 1)
    }

    @Test("drops a reader that sends without end")
    func talkative() throws {
        let connection = try connect()
        let bytes = [UInt8](repeating: 7, count: 4096)
        for _ in 0..<64 where try served.readers?.present == 1 {
            _ = try connection.send(bytes[...])
            serve()
        }
        #expect(try served.readers?.present == 0)
        #expect(
            feed.takeNews().last?.values["reason"] == "it sends, and readers have nothing to say")
    }

    @Test("notices that a reader has gone")
    func gone() throws {
        feed.announce(device)
        try closeOne()
        for _ in 0..<100 where try served.readers?.present == 1 {
            try add(60)
            feed.deliver()
            serve()
        }
        #expect(try served.readers?.present == 0)
    }

    private func closeOne() throws { _ = try connect() }

    @Test("admits this host and the networks that are allowed")
    func allowed() throws {
        var options = FeedOptions()
        options.address = SocketAddress(Self.loopback, port: 0)
        options.allowed = [try #require(IPNetwork("192.0.2.0/24"))]
        let rows = [("127.0.0.1", true), ("192.0.2.7", true), ("192.0.3.7", false), ("::1", true)]
        for (address, isAllowed) in rows {
            #expect(options.allows(try #require(IPAddress(address))) == isAllowed)
        }
        options.allowed = []
        #expect(options.allows(try #require(IPAddress("192.0.3.7"))))
    }

    @Test("says that its port is taken")
    func takenPort() throws {
        var options = FeedOptions()
        let local = try #require(feed.local)
        options.address = local
        #expect(throws: SystemError("--serve: bind \(local)", .addressInUse)) {
            _ = try PacketFeed(options, snaplen: 64)
        }
    }
}

/// Connections of readers, which a plain array cannot hold.
private final class Readers {
    private final class Box {
        let connection: Connection
        init(_ connection: consuming Connection) { self.connection = connection }
    }

    private var all: [Box] = []

    func add(_ connection: consuming Connection) { all.append(Box(connection)) }

    func endFirst() { all[0].connection.endSending() }
}
