import Addressing
import Glibc
import KernelSupport
import Linux
import Testing

/// A fan, where the macros of tests can take it.
private final class Fan {
    private var fan: DatagramFan

    init(
        _ host: String, _ port: UInt16 = Datagrams.there, from ports: ClosedRange<UInt16>,
        count: Int = DatagramFan.countMax
    ) throws {
        fan = try DatagramFan(to: Datagrams.address(host, port), from: ports, count: count)
    }

    var ports: [UInt16] { fan.ports }
    var waitingCount: Int { fan.waitingCount }
    var byteCountMax: Int { fan.payloadByteCountMax }
    func routeByteCountMax() throws -> Int { try fan.routePayloadByteCountMax() }
    func hasRoom(for byteCount: Int) -> Bool { fan.hasRoom(for: byteCount) }
    func dropWaiting() -> Int { fan.dropWaiting() }

    func fill(_ lengths: [(length: Int, index: Int)]) {
        for (length, index) in lengths {
            var room = fan.room
            for offset in 0..<length {
                room.storeBytes(of: UInt8(index), toByteOffset: offset, as: UInt8.self)
            }
            fan.append(byteCount: length, from: index)
        }
    }

    func send() -> [DatagramFan.Event] {
        var events: [DatagramFan.Event] = []
        fan.send { events.append($0) }
        return events
    }
}

@Suite("Datagrams from several ports", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct DatagramFanTests {
    private static let ports: ClosedRange<UInt16> = 49_152...65_535

    @Test("leave at the port of their flow, in order", arguments: ["127.0.0.1", "::1"])
    func arrive(host: String) throws {
        try inOwnNetwork {
            let fan = try Fan(host, from: Self.ports)
            #expect(fan.ports == (0..<64).map { 49_152 + 256 * UInt16($0) })
            // A socket that is connected to one of the ports receives what comes from there.
            for index in [3, 63] {
                let receiver = try DatagramSender(
                    to: Datagrams.address(host, fan.ports[index]),
                    from: Datagrams.there...Datagrams.there, fragmentation: .allowed)
                fan.fill([(20, 63), (30, 3), (21, 63), (31, 3), (5, 0)])
                _ = fan.send()
                #expect(fan.waitingCount == 0)
                let lengths = index == 3 ? [30, 31] : [20, 21]
                #expect(
                    try Datagrams.received(receiver, count: 2)
                        == lengths.map { [UInt8](repeating: UInt8(index), count: $0) })
            }
        }
    }

    @Test("take the next port of their part if one is in use")
    func next() throws {
        try inOwnNetwork {
            let first = try Fan("127.0.0.1", 9, from: 3000...3007, count: 4)
            let second = try Fan("127.0.0.1", 9, from: 3000...3007, count: 4)
            #expect(first.ports == [3000, 3002, 3004, 3006])
            #expect(second.ports == [3001, 3003, 3005, 3007])
            #expect(throws: SystemError("bind ports 3000 to 3001", .addressInUse)) {
                _ = try Fan("127.0.0.1", 9, from: 3000...3007, count: 4)
            }
        }
    }

    @Test("go on after what the network reports of earlier ones")
    func refused() throws {
        try inOwnNetwork {
            try Datagrams.awaitErrors()
            let fan = try Fan("127.0.0.1", from: Datagrams.here...Datagrams.here, count: 1)
            fan.fill([(1, 0)])
            #expect(fan.send() == [.sent(count: 1, byteCount: 1)])
            let receiver = try Datagrams.receiver()
            fan.fill([(2, 0), (3, 0)])
            #expect(
                fan.send() == [.reported(.connectionRefused), .sent(count: 2, byteCount: 5)])
            #expect(try Datagrams.received(receiver, count: 2).map(\.count) == [2, 3])
        }
    }

    @Test("go on after a report that comes while they are sent")
    func refusedMeanwhile() throws {
        try inOwnNetwork {
            try Datagrams.awaitErrors()
            let fan = try Fan("127.0.0.1", from: Datagrams.here...Datagrams.here, count: 1)
            fan.fill([(1, 0), (2, 0), (3, 0)])
            let events = fan.send()
            #expect(events.contains(.reported(.connectionRefused)), "\(events)")
            #expect(fan.waitingCount == 0)
        }
    }

    @Test("are dropped alone if they are too long")
    func tooLong() throws {
        try inOwnNetwork {
            let receiver = try Datagrams.receiver()
            let fan = try Fan("127.0.0.1", from: Datagrams.here...Datagrams.here, count: 1)
            #expect(fan.byteCountMax == 65_507)
            #expect(try fan.routeByteCountMax() == 65_507)
            fan.fill([(10, 0), (65_508, 0), (11, 0)])
            #expect(
                fan.send() == [
                    .sent(count: 1, byteCount: 10), .dropped(.messageTooLong, byteCount: 65_508),
                    .sent(count: 1, byteCount: 11),
                ])
            #expect(try Datagrams.received(receiver, count: 2).map(\.count) == [10, 11])
        }
    }

    @Test("are counted where a full device or a lost route drops them")
    func full() throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add out type veth peer name in && ip link set in up && \
                ip addr add 192.0.2.1/24 dev out && ip link set out up && \
                ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev out && \
                tc qdisc add dev out root tbf rate 8kbit burst 1600 limit 3000
                """)
            let fan = try Fan("192.0.2.2", from: Self.ports, count: 2)
            fan.fill((0..<10).map { (1000, $0 % 2) })
            let events = fan.send()
            let sent = events.reduce(0) {
                if case .sent(let count, _) = $1 { $0 + count } else { $0 }
            }
            let dropped = events.filter { $0 == .dropped(.noBufferSpace, byteCount: 1000) }.count
            #expect(dropped > 0 && sent > 0 && sent + dropped == 10, "\(events)")
            try shell("ip link del out")
            fan.fill([(1, 0), (2, 0)])
            let unsent = fan.send().filter { if case .dropped = $0 { true } else { false } }
            #expect(unsent.count == 2 && fan.waitingCount == 0)
        }
    }

    @Test("have room for a bounded number, which can be dropped")
    func room() throws {
        try inOwnNetwork {
            let fan = try Fan("127.0.0.1", 9, from: Self.ports, count: 3)
            var count = 0
            while fan.hasRoom(for: 100) {
                fan.fill([(100, count % 3)])
                count += 1
            }
            #expect(count == 512 && fan.waitingCount == 512)
            #expect(fan.dropWaiting() == 512 && fan.waitingCount == 0)
            #expect(fan.hasRoom(for: 65_535))
        }
    }
}
