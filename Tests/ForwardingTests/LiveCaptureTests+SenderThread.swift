import Addressing
import Forwarding
import Glibc
import KernelSupport
import Linux
import RPCAP
import Synchronization
import Testing
import Time

/// Captures whose packets a second thread sends.
extension LiveCaptureTests {
    /// Sends frames that end with numbers, 32 bits.
    private static func send(_ numbers: Range<Int>) throws {
        let sender = try PacketSender(on: try interfaceIndex("here"))
        var frame = [UInt8](repeating: 7, count: 1496)
        frame.replaceSubrange(0..<14, with: [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x88, 0xb5])
        for number in numbers {
            var end: [UInt8] = []
            end.append(bigEndian: UInt32(number))
            try sender.send(frame + end)
        }
    }

    /// Sends frames in lots that any ring has room for, and waits until each is in the queue.
    private static func send(_ numbers: Range<Int>, through capture: LiveCapture) throws {
        let deadline = MonotonicTime.now + .seconds(60)
        for begin in stride(from: numbers.lowerBound, to: numbers.upperBound, by: 100) {
            let lot = begin..<min(begin + 100, numbers.upperBound)
            let goal = capture.counters[.packetsQueued] + UInt64(lot.count)
            try send(lot)
            while capture.counters[.packetsQueued] < goal, MonotonicTime.now < deadline {
                _ = try poll([], milliseconds: 5)
            }
        }
    }

    /// Whether there is a second thread.
    private static func hasSender() throws -> Bool {
        try output(of: "cat /proc/\(getpid())/task/*/comm").contains("podwire-send")
    }

    @Test("keeps order and numbers when two threads share the work")
    func twoThreads() throws {
        try Self.onNode {
            var connection = DataConnection.awaited
            var pair = try Pair(&connection)
            let capture = try Self.capture(to: connection, senderPolicy: .always)
            for round in 0..<20 {
                try Self.send(100 * round..<100 * (round + 1))
                let packets = try pair.packets(100)
                #expect(packets.map { Int($0.mark) } == Array(100 * round..<100 * (round + 1)))
                #expect(packets.map { Int($0.number) } == packets.map { Int($0.mark) + 1 })
            }
            Self.finish(capture)
            #expect(capture.counters[.bytesAbandoned] == 0)
        }
    }

    @Test("keeps order and numbers when the second thread comes in the middle of a packet")
    func secondThreadLate() throws {
        try Self.onNode {
            let capture = try Self.capture(to: .awaited, senderPolicy: .always)
            try Self.send(0..<600, through: capture)
            var connection = DataConnection.awaited
            var pair = try Pair(&connection, takesLittle: true)
            capture.attach(connection)
            capture.count()
            // Much still waits for the socket.
            #expect(try !Self.hasSender())
            var packets: [LiveCaptureTests.Pair.Seen] = []
            for begin in stride(from: 600, to: 1200, by: 20) {
                try Self.send(begin..<begin + 20)
                packets += try pair.packets(20)
            }
            #expect(try Self.hasSender())
            packets += try pair.packets(1200 - packets.count)
            #expect(packets.map { Int($0.mark) } == Array(0..<1200))
            #expect(packets.map { Int($0.number) } == Array(1...1200))
            Self.finish(capture)
            #expect(capture.counters[.bytesAbandoned] == 0)
        }
    }

    @Test("counts what two threads have not sent")
    func abandonedByTwo() throws {
        try Self.onNode {
            var connection = DataConnection.awaited
            var pair = try Pair(&connection, takesLittle: true)
            let capture = try Self.capture(
                to: connection, queueByteCountMax: 4 << 20, senderPolicy: .always)
            // More than there is room for: half of it while the other half waits for the socket.
            for begin in stride(from: 0, to: 5000, by: 500) {
                try Self.send(begin..<begin + 500)
                capture.count()
            }
            #expect(try Self.hasSender())
            Self.finish(capture)
            let queued = capture.counters[.packetsQueued]
            let abandoned = capture.counters[.packetsAbandoned]
            #expect(capture.counters[.bytesAbandoned] > 3 << 19)
            // One that has been begun is among those that were not sent.
            #expect(UInt64(try pair.packets(Int(queued)).count) + abandoned == queued)
        }
    }

    @Test("keeps its limit when two threads share the work")
    func limitOfTwo() throws {
        try Self.onNode {
            var connection = DataConnection.awaited
            var pair = try Pair(&connection)
            let capture = try Self.capture(
                to: connection, bytesPerSecondMax: 1 << 20, senderPolicy: .always)
            try Self.send(0..<2000)
            capture.count()
            Self.finish(capture)
            let queued = capture.counters[.packetsQueued]
            #expect(capture.counters[.packetsLimited] > 0)
            let packets = try pair.packets(Int(queued))
            #expect(packets.map { UInt64($0.number) } == Array(1...queued))
            #expect(capture.counters[.bytesAbandoned] == 0)
        }
    }

    @Test("ends with the reason when the peer closes what a second thread sends to")
    func closedByPeer() throws {
        try Self.onNode {
            let capture: LiveCapture
            do {
                var connection = DataConnection.awaited
                var pair = try Pair(&connection)
                capture = try Self.capture(to: connection, senderPolicy: .always)
                try Self.send(0..<100)
                #expect(try pair.packets(100).count == 100)
            }
            // What comes next finds nobody.
            try Self.send(100..<200)
            let ended = try poll([(capture.endedFileDescriptor, .readable)], milliseconds: 60_000)
            #expect(ended[0].contains(.readable))
            #expect(capture.endReason?.description == "the peer has closed the data connection")
            Self.finish(capture)
        }
    }

    /// Reads datagrams until a number of packets has come, or none does for a while.
    private static func packets(
        _ count: Int, from socket: CInt, by reader: inout DatagramReader
    ) throws -> [UInt32] {
        var marks: [UInt32] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while marks.count < count,
            try poll([(socket, .readable)], milliseconds: 30_000)[0].contains(.readable)
        {
            let length = unsafe recv(socket, &buffer, buffer.count, CInt(MSG_DONTWAIT))
            guard length > 0 else { continue }
            reader.read(buffer.wire.extracting(first: length)) { _, frame in
                marks.append(frame.uint32(at: frame.byteCount - 4))
            }
        }
        return marks
    }

    @Test(
        "sends datagrams that are not full in time when a second thread sends",
        arguments: [DatagramWriter.Format.udpstr, .packet])
    func datagramsOfTwo(format: DatagramWriter.Format) throws {
        try Self.onNode {
            let host = try #require(IPAddress("127.0.0.1"))
            let (here, there) = (UInt16(20_000), UInt16(20_001))
            let receiver = try DatagramSender(
                to: SocketAddress(host, port: here), from: there...there, fragmentation: .allowed)
            let stream = try DatagramStream(
                to: SocketAddress(host, port: there), from: here...here, as: format)
            let capture = try Self.capture(
                to: .datagrams(stream), datagramFormat: format, senderPolicy: .always)
            var reader = DatagramReader(snaplen: 262_144)
            for round in 0..<20 {
                // Datagrams of a stream end in the middle of a packet.
                try Self.send(5 * round..<5 * (round + 1))
                let marks = try Self.packets(5, from: receiver.fileDescriptor, by: &reader)
                #expect(marks.map { Int($0) } == Array(5 * round..<5 * (round + 1)))
            }
            try Self.send(100..<150)
            Self.finish(capture)
            let marks = try Self.packets(50, from: receiver.fileDescriptor, by: &reader)
            #expect(marks.map { Int($0) } == Array(100..<150))
            #expect(reader.counts.lostDatagrams == 0 && reader.counts.lostPackets == 0)
            #expect(capture.counters[.bytesAbandoned] == 0)
        }
    }

    @Test("counts the bytes of datagrams that two threads have not sent")
    func datagramsAbandonedByTwo() throws {
        try Self.onNode {
            // Datagrams to nobody, and slowly.
            try shell("tc qdisc add dev lo root tbf rate 1mbit burst 10k limit 100m")
            let capture = try Self.capture(to: try Self.datagrams(), senderPolicy: .always)
            for begin in stride(from: 0, to: 6000, by: 500) {
                try Self.send(begin..<begin + 500)
                capture.count()
            }
            let begin = MonotonicTime.now
            Self.finish(capture)
            // Sending all of it would take more than a minute.
            #expect(.now - begin < .seconds(20))
            #expect(capture.counters[.bytesAbandoned] > 1 << 20)
            #expect(capture.counters[.packetsAbandoned] > 100)
        }
    }
}
