import BPF
import Frames
import RPCAP
import Testing

@Suite("A server session")
struct ServerSessionTests {
    @Test("answers each request of an ordinary session with the bytes that libpcap's server sends")
    func ordinary() {
        var driver = Driver(.active)
        #expect(driver.exchange(Request.login) == hex("00 88 00 00 00 00 00 00"))
        #expect(driver.exchange(Request.list).prefix(8) == hex("00 82 00 01 00 00 00 0e")[...])
        #expect(
            driver.exchange(Request.open) == hex("00 83 00 00 00 00 00 08 00 00 00 01 00 00 00 00"))
        #expect(
            driver.exchange(Request.start) == hex("00 84 00 00 00 00 00 08 00 00 00 00 00 00 00 00")
        )
        #expect(driver.exchange(Request.update) == hex("00 85 00 00 00 00 00 00"))
        #expect(driver.exchange(Request.sampling) == hex("00 8b 00 00 00 00 00 00"))
        #expect(
            driver.exchange(Request.statistics)
                == hex("00 89 00 00 00 00 00 10  00 00 00 22 00 00 00 00 00 00 00 00 00 00 00 0e"))
        #expect(driver.exchange(Request.end) == hex("00 8a 00 00 00 00 00 00"))
        #expect(driver.exchange(Request.close).isEmpty && driver.closeReason != nil)
        #expect(
            driver.starts.map(\.dataPort) == [0x9b41] && driver.starts.map(\.snaplen) == [65535])
        #expect(driver.starts.first?.device == "lo" && driver.starts.first?.flags == .serverOpens)
    }

    @Test("tells its byte order in passive mode")
    func passiveLogin() {
        var driver = Driver(.passive)
        #expect(
            driver.exchange(Request.login)
                == hex("00 88 00 00 00 00 00 08  00 00 00 00 d4 c3 b2 a1"))
    }

    @Test("lists a device as libpcap's server does")
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

    @Test(
        "knows what to do with each message in each state", arguments: 0..<StateTable.rows.count,
        ["A", "R", "O", "C"])
    func states(row: Int, state: String) throws {
        let (message, bytes, rows) = StateTable.rows[row]
        let (reply, goesOn) = try #require(rows[state])
        var driver = Driver.inState(state)
        let sent = driver.exchange(bytes)
        #expect(Array(sent.prefix(4)) == hex(reply), "\(message) in \(state)")
        #expect((driver.closeReason == nil) == goesOn, "\(message) in \(state)")
        guard goesOn else { return }
        // Whatever it was, the next message is understood.
        let next = driver.exchange(
            state == "A" && message != "login" ? Request.login : Request.list)
        #expect(next.count > 4 && next[1] & 0x80 != 0, "after \(message) in \(state)")
    }

    @Test("has an answer to what is malformed", arguments: 0..<StateTable.malformed.count)
    func malformed(row: Int) {
        let (name, bytes, state, reply, goesOn) = StateTable.malformed[row]
        var driver = Driver.inState(state)
        #expect(Array(driver.exchange(bytes).prefix(4)) == hex(reply), "\(name)")
        #expect((driver.closeReason == nil) == goesOn, "\(name)")
        guard goesOn else { return }
        let next = driver.exchange(state == "A" ? Request.login : Request.list)
        #expect(next.count > 4 && next[1] & 0x80 != 0, "after \(name)")
    }

    @Test("takes the instruction that libpcap's client sends behind a request of 20 bytes")
    func twentyBytes() {
        let head = hex(
            "00 04 00 00 00 00 00 14  00 00 ff ff 00 00 01 f4 00 04 9b 41  00 01 00 00 00 00 00 01")
        var driver = Driver.inState("O")
        #expect(driver.exchange(head).isEmpty)
        #expect(driver.exchange(hex("00 06 00 00 00 00 ff ff")).prefix(2) == [0, 0x84])
        #expect(driver.starts.map(\.filter) == [[Instruction(.keep, 0xffff)]])
        // What follows and is no such instruction is the next message.
        driver = Driver.inState("O")
        let sent = driver.exchange(head + Request.list)
        #expect(sent.prefix(4) == hex("00 01 00 0c")[...] && driver.closeReason == nil)
        #expect(sent.suffix(22).prefix(4) == hex("00 82 00 01")[...])
    }

    @Test("says no when its driver does, and goes on")
    func refusals() {
        var driver = Driver.inState("O")
        driver.refuses = true
        #expect(driver.exchange(Request.start).prefix(4) == hex("00 01 00 0c")[...])
        #expect(!driver.session.isCapturing)
        driver.refuses = false
        #expect(driver.exchange(Request.start).prefix(2) == [0, 0x84])
        driver.refuses = true
        #expect(driver.exchange(Request.update).prefix(4) == hex("00 01 00 07")[...])
        #expect(driver.session.isCapturing)
    }

    @Test("understands a stream however it is cut", arguments: 1...40 as ClosedRange<UInt64>)
    func splits(seed: UInt64) {
        let stream = [
            Request.login, Request.list, Request.open, Request.start, Request.update,
            Request.statistics, Request.sampling, Request.end, Request.start, Request.end,
        ].flatMap { $0 }
        var whole = Driver()
        let expected = whole.exchange(stream)
        var generator = SeededGenerator(seed: seed)
        var driver = Driver()
        var sent: [UInt8] = []
        var rest = stream[...]
        while !rest.isEmpty {
            let part = rest.prefix(Int.random(in: 1...20, using: &generator))
            rest = rest.dropFirst(part.count)
            sent += driver.exchange(Array(part))
        }
        #expect(sent == expected)
    }

    @Test(
        "survives any bytes, and holds no more than a message",
        arguments: 1...200 as ClosedRange<UInt64>)
    func garbage(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let known = [
            Request.login, Request.list, Request.open, Request.start, Request.update, Request.end,
            Request.statistics, Request.sampling, Request.error,
        ]
        var driver = Driver()
        var byteCount = 0
        while driver.closeReason == nil, byteCount < 40_000 {
            var bytes = known.randomElement(using: &generator) ?? []
            for _ in 0..<Int.random(in: 0...2, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] =
                    [0, 1, 8, 255, .random(in: 0...255, using: &generator)].randomElement(
                        using: &generator) ?? 0
            }
            _ = driver.exchange(bytes)
            byteCount += bytes.count
            #expect(driver.session.wantsInput || byteCount > ServerSession.payloadByteCountMax)
        }
    }
}
