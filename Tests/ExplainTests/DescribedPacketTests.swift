import Explain
import Testing

@Suite("A described packet")
struct DescribedPacketTests {
    private func words(_ text: String) -> [String] {
        text.split(separator: " ").map(String.init)
    }

    @Test(
        "is understood by its protocol, addresses and ports",
        arguments: [
            ("tcp 10.244.1.2:40000 10.244.2.3:80", "tcp 10.244.1.2:40000 to 10.244.2.3:80"),
            ("UDP 10.244.1.2:0 10.244.2.3:65535", "udp 10.244.1.2:0 to 10.244.2.3:65535"),
            ("udp [fd00::2]:5000 [fd00::a]:53", "udp [fd00::2]:5000 to [fd00::a]:53"),
            ("17 10.0.0.1:1 10.0.0.2:2", "udp 10.0.0.1:1 to 10.0.0.2:2"),
            ("icmp 10.244.1.2 10.244.1.1", "icmp 10.244.1.2 to 10.244.1.1"),
            ("icmp fd00::2 fd00::3", "icmp fd00::2 to fd00::3"),
            ("47 10.0.0.1 10.0.0.2", "protocol 47 10.0.0.1 to 10.0.0.2"),
        ])
    func understood(text: String, description: String) throws {
        #expect(try DescribedPacket(words: words(text)).description == description)
    }

    // As tshark's dissector of community ids prints them.
    @Test(
        "has the community id of its flow, in both directions",
        arguments: [
            (
                "tcp 128.232.110.120:34855 66.35.250.204:80",
                "tcp 66.35.250.204:80 128.232.110.120:34855", "1:LQU9qZlK+B5F3KDmev6m5PMibrg="
            ),
            (
                "udp 192.168.1.52:54585 8.8.8.8:53", "udp 8.8.8.8:53 192.168.1.52:54585",
                "1:d/FP5EW3wiY1vCndhwleRRKHowQ="
            ),
            (
                "icmp 192.168.0.89 192.168.0.1", "icmp 192.168.0.89 192.168.0.1",
                "1:X0snYXpgwiv9TZtqg64sgzUn6Dk="
            ),
            (
                "47 10.0.0.1 10.0.0.2", "47 10.0.0.2 10.0.0.1", "1:+KlEHDT0vJgzs/eNmzHq0aSpRYw="
            ),
            (
                "sctp 10.0.0.2:5 10.0.0.1:6", "sctp 10.0.0.1:6 10.0.0.2:5",
                "1:jPpGiLKCA81iywvooRE5nR3LIRM="
            ),
        ])
    func communityID(text: String, opposite: String, identity: String) throws {
        #expect(try DescribedPacket(words: words(text)).communityID == identity)
        #expect(try DescribedPacket(words: words(opposite)).communityID == identity)
    }

    @Test(
        "is refused with what to write",
        arguments: [
            ("tcp 10.244.1.2:1", "three words"), ("tcpx 10.0.0.1:1 10.0.0.2:2", "tcpx"),
            ("256 10.0.0.1 10.0.0.2", "256"), ("tcp 10.0.0.1 10.0.0.2:2", "add a port"),
            ("icmp 10.0.0.1:1 10.0.0.2", "no ports"), ("tcp 10.0.0.1:1 [fd00::2]:2", "IPv6"),
            ("icmp6 10.0.0.1 10.0.0.2", "needs IPv6"), ("tcp host:1 10.0.0.2:2", "host:1"),
            ("tcp 10.0.0.1:65536 10.0.0.2:2", "10.0.0.1:65536"),
        ])
    func refused(text: String, part: String) {
        let failure = #expect(throws: DescribedPacket.Failure.self) {
            try DescribedPacket(words: words(text))
        }
        #expect(failure?.description.contains(part) == true, "\(failure.debugDescription)")
    }

    @Test(
        "knows groups",
        arguments: [
            ("udp 10.0.0.1:1 224.0.0.251:5353", true), ("udp 10.0.0.1:1 255.255.255.255:67", true),
            ("udp [fd00::1]:1 [ff02::1]:2", true), ("udp 10.0.0.1:1 10.0.0.255:2", false),
        ])
    func groups(text: String, isToGroup: Bool) throws {
        #expect(try DescribedPacket(words: words(text)).isToGroup == isToGroup)
    }
}
