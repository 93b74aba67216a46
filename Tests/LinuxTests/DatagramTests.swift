import Addressing
import Glibc
import KernelSupport
import Linux
import Testing

@Suite("Datagrams on a loopback", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct DatagramTests {
    static let hosts = ["127.0.0.1", "::1"]

    /// What UDP over IPv4 can carry: 65,535 less the 20 bytes of IP's header and the 8 of its own.
    private static let payloadByteCountMax = 65_507

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
            let receiver = try Datagrams.receiver(host)
            let sender = try Datagrams.sender(host)
            #expect(sender.local.port == Datagrams.here)
            var batch = DatagramBatch()
            let lengths = (0..<DatagramBatch.countMax).map { $0 * 20 }
            for _ in 0..<3 {
                Self.fill(&batch, lengths)
                let hasRoom = batch.hasRoom(for: 1)
                #expect(!hasRoom)
                #expect(sender.send(&batch) == .sent(lengths.count))
                #expect(batch.isEmpty && batch.byteCount == 0)
                let seen = try Datagrams.received(receiver, count: lengths.count)
                #expect(
                    seen == lengths.enumerated().map { [UInt8](repeating: UInt8($0), count: $1) })
            }
        }
    }

    @Test("come from the first port that is free")
    func ports() throws {
        try inOwnNetwork {
            let peer = try Datagrams.address("127.0.0.1", 9)
            func open(_ ports: ClosedRange<UInt16>) throws -> DatagramSender {
                try DatagramSender(to: peer, from: ports, fragmentation: .refused)
            }
            let first = try open(3000...3001)
            let second = try open(3000...3001)
            #expect([first.local.port, second.local.port] == [3000, 3001])
            #expect(throws: SystemError("bind ports 3000 to 3001", .addressInUse)) {
                _ = try open(3000...3001)
            }
            #expect(first.local.address == IPAddress("127.0.0.1"))
        }
    }

    @Test("are refused where the port is closed, and arrive when it is open")
    func refused() throws {
        try inOwnNetwork {
            try Datagrams.awaitErrors()
            let sender = try Datagrams.sender()
            var batch = DatagramBatch()
            Self.fill(&batch, [1, 2])
            #expect(sender.send(&batch) == .sent(1))
            #expect(sender.send(&batch) == .sent(1))
            Self.fill(&batch, [3])
            #expect(sender.send(&batch) == .failed(.connectionRefused))
            #expect(batch.count == 1)
            let receiver = try Datagrams.receiver()
            #expect(sender.send(&batch) == .sent(1))
            #expect(try Datagrams.received(receiver, count: 1).map(\.count) == [3])
            #expect(sender.takeReceived() == 0)
        }
    }

    @Test("are no longer than the route carries, unless they may be cut", arguments: hosts)
    func tooLong(host: String) throws {
        try inOwnNetwork {
            try shell("ip link set lo mtu 1400")
            let receiver = try Datagrams.receiver(host)
            var batch = DatagramBatch()
            do {
                let sender = try Datagrams.sender(host)
                let most = try sender.payloadByteCountMax()
                #expect(most == 1400 - (host == "::1" ? 48 : 28))
                Self.fill(&batch, [most, most + 1])
                #expect(sender.send(&batch) == .sent(1))
                #expect(sender.send(&batch) == .failed(.messageTooLong))
                batch.removeFirst(1)
            }
            let sender = try Datagrams.sender(host, .allowed)
            Self.fill(&batch, [Self.payloadByteCountMax])
            #expect(sender.send(&batch) == .sent(1))
            let seen = try Datagrams.received(receiver, count: 2)
            #expect(seen.map(\.count).max() == Self.payloadByteCountMax)
        }
    }
}
