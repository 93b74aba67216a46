import Addressing
import BPF
import RPCAP
import Testing

/// Whole exchanges with the bytes that libpcap's and ExtraHop's programs have been seen to send.
@Suite("A transcript")
struct TranscriptTests {
    /// A session of the reference's in order: who asks what, and what the answer is.
    static let requests: [(name: String, request: String, reply: String)] = [
        (
            "open", "00 03 00 00 00 00 00 02 6c 6f",
            "00 83 00 00 00 00 00 08 00 00 00 01 00 00 00 00"
        ),
        (
            "update", "00 05 00 00 00 00 00 10  00 01 00 00 00 00 00 01  00 06 00 00 ff ff ff ff",
            "00 85 00 00 00 00 00 00"
        ),
        ("sampling", "00 0b 00 00 00 00 00 08  01 00 00 00 00 00 00 00", "00 8b 00 00 00 00 00 00"),
        (
            "statistics", "00 09 00 00 00 00 00 00",
            "00 89 00 00 00 00 00 10  00 00 00 22 00 00 00 00 00 00 00 00 00 00 00 0e"
        ),
        ("end", "00 0a 00 00 00 00 00 00", "00 8a 00 00 00 00 00 00"),
        ("close", "00 06 00 00 00 00 00 00", ""),
    ]

    @Test("of an ordinary session has the reference's bytes", arguments: 0..<requests.count)
    func ordinary(row: Int) {
        let (name, request, reply) = Self.requests[row]
        var driver = Driver.inState(name == "open" ? "R" : "C")
        #expect(driver.exchange(hex(request)) == hex(reply))
    }

    static let logins: [(mode: ServerSession.Mode, reply: String)] = [
        (.passive, "00 88 00 00 00 00 00 08  00 00 00 00 d4 c3 b2 a1"),
        (.active, "00 88 00 00 00 00 00 00"),
    ]

    @Test(
        "of a login is libpcap's in passive mode, and ExtraHop's in active mode", arguments: [0, 1])
    func login(row: Int) {
        let (mode, reply) = Self.logins[row]
        var driver = Driver(mode)
        let request = hex("00 08 00 00 00 00 00 08  00 00 00 00 00 00 00 00")
        #expect(driver.exchange(request) == hex(reply))
    }

    /// The twenty bytes that the requests for a capture differ in, and what is in them.
    static let starts:
        [(
            name: String, mode: ServerSession.Mode, fixed: String, flags: StartRequest.Flags,
            port: UInt16, replyPort: UInt16, reply: String
        )] = [
            (
                "passive TCP", .passive, "00 00 ff ff 00 00 01 f4 00 00 00 00", [], 0, 39877,
                "00 84 00 00 00 00 00 08 00 04 00 00 9b c5 00 00"
            ),
            (
                "passive UDP", .passive, "00 00 ff ff 00 00 01 f4 00 02 b4 65", .udp, 46181, 0,
                "00 84 00 00 00 00 00 08 00 04 00 00 00 00 00 00"
            ),
            (
                "active TCP", .active, "00 00 ff ff 00 00 01 f4 00 04 9b 41", .serverOpens, 39745,
                0,
                "00 84 00 00 00 00 00 08 00 04 00 00 00 00 00 00"
            ),
            (
                "active UDP", .active, "00 00 ff ff 00 00 01 f4 00 06 87 7c", [.udp, .serverOpens],
                34684, 0, "00 84 00 00 00 00 00 08 00 04 00 00 00 00 00 00"
            ),
        ]

    @Test("of a start has the ports where they belong", arguments: 0..<starts.count)
    func start(row: Int) throws {
        let (_, mode, fixed, flags, port, replyPort, reply) = Self.starts[row]
        let program = [Instruction](repeating: Instruction(.loadHalf, 12), count: 19)
        let filter = Filter.encode(program + [Instruction(.keep, 65535)])
        let request = hex("00 04 00 00 00 00 00 b4" + fixed) + filter
        var driver = Driver.inState("O", mode)
        driver.dataPort = replyPort
        driver.bufferByteCount = 262_144
        #expect(driver.exchange(request) == hex(reply))
        let start = try #require(driver.starts.first)
        #expect(start.flags == flags && start.dataPort == port)
        #expect(start.snaplen == 65535 && start.readTimeoutMilliseconds == 500)
        #expect(start.device == "lo" && start.filter.count == 20)
        // The client's own form of the same.
        #expect(start.bytes == Array(request.dropFirst(8)))
    }

    @Test("of a list has a device as libpcap's server shows it")
    func list() {
        let addresses = [
            Device.Address(IPAddress(ipv4: 0x7f00_0001), prefixBitCount: 8),
            Device.Address(IPAddress(ipv6High: 0, low: 1), prefixBitCount: 128),
        ]
        var driver = Driver(devices: [Device(name: "lo", flags: 0x37, addresses: addresses)])
        _ = driver.exchange(Request.login)
        let zero = { (count: Int) in [UInt8](repeating: 0, count: count) }
        let first =
            hex("00 02 00 00 7f 00 00 01") + zero(120) + hex("00 02 00 00 ff 00 00 00") + zero(120)
        let second =
            hex("00 17 00 00 00 00 00 00") + zero(15) + [1] + zero(104)
            + hex("00 17 00 00 00 00 00 00")
            + [UInt8](repeating: 0xff, count: 16) + zero(104)
        let head = hex("00 02 00 00 00 00 00 37 00 02 00 00  6c 6f")
        let payload = head + first + zero(256) + second + zero(256)
        #expect(driver.exchange(Request.list) == hex("00 82 00 01 00 00 04 0e") + payload)
    }

    @Test("of a start without a buffer or a port is the one that ExtraHop's daemon sends")
    func plainStart() {
        var driver = Driver.inState("O")
        #expect(
            driver.exchange(Request.start) == hex("00 84 00 00 00 00 00 08 00 00 00 00 00 00 00 00")
        )
    }

    @Test("of a packet has the reference's 28 bytes in front of it")
    func packet() {
        var bytes = [UInt8](repeating: 0, count: PacketRecord.headerByteCount)
        var span = bytes.mutableSpan
        var raw = unsafe span.mutableBytes
        PacketRecord.store(
            into: &raw, nanoseconds: 0x6b00_d45f * 1_000_000_000 + 0x8c87d * 1000 + 999,
            byteCount: 49, wireByteCount: 49, number: 1)
        #expect(
            bytes
                == hex(
                    """
                    00 07 00 00 00 00 00 45  6b 00 d4 5f 00 08 c8 7d 00 00 00 31 00 00 00 31
                    00 00 00 01
                    """))
    }

    @Test("of an active session ends in silence where the sensor refuses the host")
    func refused() {
        var driver = Driver(.active)
        #expect(driver.exchange(hex("00 01 00 0b 00 00 00 02 6e 6f")).isEmpty)
        #expect(driver.closeReason == "the peer refused: no")
    }

    @Test("of a TLS hello to an agent without TLS is an alert with the peer's version")
    func tlsHello() {
        var driver = Driver(.passive)
        #expect(
            driver.exchange(hex("16 03 01 02 00 01 00 01 fc 03 03")) == hex("15 03 01 00 02 02 28"))
        #expect(driver.closeReason != nil)
    }
}
