import Addressing
import Forwarding
import Glibc
import KernelSupport
import Linux
import Packets
import RPCAP
import Testing
import Tunnels

@Suite("Packets in a tunnel", .needsOwnNetwork, .timeLimit(.minutes(15)))
struct TunnelStreamTests {
    /// A stream to a receiver at the loopback, what it notes, what it counts, and its queue.
    private final class Bed {
        let stream: TunnelStream
        let news: TunnelNews
        let counters = CaptureCounters()
        var queue: ByteQueue

        init(
            _ kind: TunnelProtocol = .vxlan, network: UInt32 = 7, mayJoin: Bool = true,
            to host: String = "127.0.0.1"
        ) throws {
            queue = try ByteQueue(byteCountMax: 16 << 20)
            news = try TunnelNews()
            stream = try TunnelStream(
                to: try Datagrams.address(host, Datagrams.there),
                TunnelHeader(kind, network: network), mayJoin: mayJoin, news)
        }

        /// Puts a packet into the queue as the pipeline does.
        func append(_ frame: [UInt8]) {
            let hasRoom = queue.hasRoom(for: PacketRecord.headerByteCount + frame.count)
            precondition(hasRoom)
            var record = queue.extend(by: PacketRecord.headerByteCount)
            PacketRecord.store(
                into: &record, nanoseconds: 1, byteCount: frame.count,
                wireByteCount: frame.count, number: 1)
            queue.append(frame.wire)
        }

        func send() -> Bool { stream.send(from: &queue, counters) }
    }

    /// A socket that receives from any port.
    private static func receiver() throws -> Descriptor {
        let descriptor = try Descriptor("socket") {
            socket(AF_INET, CInt(SOCK_DGRAM.rawValue) | CInt(SOCK_CLOEXEC.rawValue), 0)
        }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = Datagrams.there.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = unsafe withUnsafePointer(to: &address) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                unsafe bind(
                    descriptor.fileDescriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        try #require(result == 0)
        var byteCount: CInt = 8 << 20
        unsafe _ = setsockopt(
            descriptor.fileDescriptor, SOL_SOCKET, 33, &byteCount,
            socklen_t(MemoryLayout<CInt>.size))
        return descriptor
    }

    /// All datagrams that have come, with the ports that they are from.
    private static func received(
        _ descriptor: borrowing Descriptor
    ) -> [(bytes: [UInt8], port: UInt16)] {
        var datagrams: [(bytes: [UInt8], port: UInt16)] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            var address = sockaddr_in()
            var byteCount = socklen_t(MemoryLayout<sockaddr_in>.size)
            // Safety: the call writes at most as many bytes as the buffer and the address have.
            let length = unsafe withUnsafeMutablePointer(to: &address) { pointer in
                unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    unsafe recvfrom(
                        descriptor.fileDescriptor, &buffer, buffer.count, CInt(MSG_DONTWAIT),
                        $0, &byteCount)
                }
            }
            guard length >= 0 else { return datagrams }
            datagrams.append((Array(buffer[..<length]), UInt16(bigEndian: address.sin_port)))
        }
    }

    /// A frame of UDP over IPv4 with a payload of zeros.
    private static func frame(
        from source: (UInt32, UInt16), to destination: (UInt32, UInt16), payloadByteCount: Int = 20
    ) -> [UInt8] {
        var frame: [UInt8] = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0]
        frame.append(bigEndian: UInt16(28 + payloadByteCount))
        frame += [0, 0, 0, 0, 64, 17, 0, 0]
        frame.append(bigEndian: source.0)
        frame.append(bigEndian: destination.0)
        frame.append(bigEndian: source.1)
        frame.append(bigEndian: destination.1)
        frame.append(bigEndian: UInt16(8 + payloadByteCount))
        return frame + [UInt8](repeating: 0, count: 2 + payloadByteCount)
    }

    @Test(
        "are each behind the tunnel's header, from one port for both directions of a flow",
        arguments: [
            (TunnelProtocol.vxlan, [0x08, 0, 0, 0, 0x01, 0x02, 0x03, 0] as [UInt8]),
            (.geneve, [0, 0, 0x65, 0x58, 0x01, 0x02, 0x03, 0]),
        ], [true, false])
    func format(form: (TunnelProtocol, [UInt8]), mayJoin: Bool) throws {
        try inOwnNetwork {
            let receiver = try Self.receiver()
            let bed = try Bed(form.0, network: 0x01_0203, mayJoin: mayJoin)
            var frames: [[UInt8]] = []
            for number in 0..<200 {
                let here = (UInt32(0x0af4_0102), UInt16(1000 + number / 4))
                let there = (UInt32(0x0af4_0203), UInt16(80))
                let byteCount = number % 4 == 3 ? 900 : 20
                frames.append(
                    number % 2 == 0
                        ? Self.frame(from: here, to: there, payloadByteCount: byteCount)
                        : Self.frame(from: there, to: here, payloadByteCount: byteCount))
                frames[number][frames[number].count - 1] = UInt8(number)
                bed.append(frames[number])
            }
            #expect(bed.send() && bed.queue.byteCount == 0)
            let datagrams = Self.received(receiver)
            #expect(datagrams.count == 200 && bed.counters[.datagramsSent] == 200)
            for (bytes, _) in datagrams { #expect(Array(bytes.prefix(8)) == form.1) }
            let ports = Dictionary(grouping: datagrams, by: \.port)
            #expect(ports.count > 10)
            #expect(ports.keys.allSatisfy { FlowHash.ports.contains($0) })
            var portOf: [[UInt8]: UInt16] = [:]
            for (bytes, port) in datagrams { portOf[Array(bytes.dropFirst(8))] = port }
            #expect(Set(portOf.keys) == Set(frames))
            for first in stride(from: 0, to: 200, by: 4) {
                #expect(Set(frames[first..<first + 4].map { portOf[$0] }).count == 1)
            }
            // The order of a flow's packets stays.
            for (_, part) in ports {
                let order = part.map { datagram in
                    frames.firstIndex(of: Array(datagram.bytes.dropFirst(8))) ?? -1
                }
                #expect(order == order.sorted())
            }
        }
    }

    @Test("that are joined arrive one by one, also the last and shorter one of a run")
    func joined() throws {
        try inOwnNetwork {
            let receiver = try Self.receiver()
            let bed = try Bed()
            var lengths: [Int] = []
            for number in 0..<1000 {
                let byteCount = number % 70 == 69 ? 100 + number % 7 : 258
                bed.append(
                    Self.frame(from: (1, 1), to: (2, 2), payloadByteCount: byteCount))
                lengths.append(8 + 42 + byteCount)
            }
            #expect(bed.send() && bed.queue.byteCount == 0)
            #expect(Self.received(receiver).map(\.bytes.count) == lengths)
            #expect(bed.counters[.datagramsSent] == 1000 && bed.counters.lostCount == 0)
        }
    }

    @Test("go as fragments if they are longer than the route carries, and the longest are lost")
    func long() throws {
        try inOwnNetwork {
            try shell("ip link set lo mtu 1500")
            let receiver = try Self.receiver()
            let bed = try Bed()
            // 65,507 bytes are the most that a datagram over IPv4 has.
            for byteCount in [1464, 1465, 1465, 9000, 9000, 65_499, 65_500] {
                bed.append([UInt8](repeating: 7, count: byteCount))
            }
            #expect(bed.send() && bed.queue.byteCount == 0)
            #expect(
                Self.received(receiver).map(\.bytes.count)
                    == [1472, 1473, 1473, 9008, 9008, 65_507])
            #expect(bed.counters[.packetsLostAsTooLarge] == 1 && bed.counters.lostCount == 1)
            #expect(bed.counters[.bytesLost] == 65_528)
            #expect(bed.stream.frameByteCountMax == 1464)
            #expect(bed.news.take().loss == .messageTooLong)
        }
    }

    @Test("of the tunnel itself, seen on their way to a pod, are not sent again")
    func echo() throws {
        try inOwnNetwork {
            let receiver = try Self.receiver()
            let bed = try Bed()
            let local = try #require(bed.stream.locals.last)
            let here = (UInt32(truncatingIfNeeded: local.address.low), local.port)
            bed.append(Self.frame(from: here, to: (0x0af4_0109, 4789)))
            bed.append(Self.frame(from: (here.0, 53), to: (0x0af4_0109, 4789)))
            bed.append(Self.frame(from: (0x0af4_0109, 4789), to: here))
            #expect(bed.send())
            #expect(Self.received(receiver).count == 2)
            #expect(bed.counters[.packetsLostAsEcho] == 1)
            let notes = bed.news.take()
            #expect(notes.echoes == [IPAddress(ipv4: 0x0af4_0109)] && notes.loss == nil)
            let event = bed.news.event.fileDescriptor
            #expect(try poll([(event, .readable)], milliseconds: 0)[0] == [])
        }
    }

    @Test("to a port where nobody listens are counted, noted once, and heard when somebody does")
    func refused() throws {
        try inOwnNetwork {
            try Datagrams.awaitErrors()
            let bed = try Bed()
            for _ in 0..<200 { bed.append(Self.frame(from: (1, 1), to: (2, 2))) }
            #expect(bed.send() && bed.queue.byteCount == 0)
            bed.stream.takeReceived(bed.counters)
            #expect(bed.counters[.datagramsSent] == 200 && bed.counters.lostCount == 0)
            #expect(bed.counters[.datagramsRefused] > 0)
            #expect(bed.news.take().refusal == .connectionRefused)
            let receiver = try Self.receiver()
            for _ in 0..<100 { bed.append(Self.frame(from: (1, 1), to: (2, 2))) }
            #expect(bed.send())
            #expect(Self.received(receiver).count == 100)
        }
    }

    @Test("are lost where no route leads, and each is counted")
    func noRoute() throws {
        try inOwnNetwork {
            try shell(
                """
                ip link add out type veth peer name in && ip link set in up && \
                ip addr add 192.0.2.1/24 dev out && ip link set out up
                """)
            let bed = try Bed(to: "192.0.2.2")
            try shell("ip link del out")
            for _ in 0..<50 { bed.append(Self.frame(from: (1, 1), to: (2, 2))) }
            #expect(bed.send() && bed.queue.byteCount == 0)
            #expect(bed.counters.lostCount == 50 && bed.counters[.datagramsSent] == 0)
            #expect(bed.news.take().loss != nil)
        }
    }
}
