import Addressing
import Testing

@Suite("An address")
struct AddressTests {
    @Test(
        "reads what it writes",
        arguments: [
            "0.0.0.0", "10.244.1.2", "255.255.255.255", "::", "::1", "fd00:10:244::2",
            "fe80::1c2a:3bff:fe4c:5d6e", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        ])
    func text(text: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.description == text)
        #expect(IPAddress(address.family, address.bytes.wire, at: 0) == address)
    }

    @Test(
        "refuses what is not one",
        arguments: [
            "", "10.244.1", "10.244.1.256", "fe80::1%eth0", "[::1]", "node-1", "10.0.0.1/8",
        ])
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("is ordered by its bytes, unsigned")
    func order() throws {
        let texts = [
            "9.255.0.1", "10.0.0.1", "128.0.0.0", "::1", "7fff::", "8000::", "8000::8000:0:0:0",
        ]
        let addresses = texts.compactMap { IPAddress($0) }
        #expect(addresses.count == texts.count)
        #expect(addresses.shuffled().sorted() == addresses)
    }

    @Test(
        "knows a link-local one",
        arguments: [("fe80::1", true), ("febf::", true), ("fec0::", false)])
    func linkLocal(text: String, isLinkLocal: Bool) throws {
        #expect(try #require(IPAddress(text)).isLinkLocalIPv6 == isLinkLocal)
    }

    @Test("of Ethernet reads what it writes, and knows a group")
    func mac() throws {
        let address = try #require(MACAddress("02:42:0a:f4:01:02"))
        #expect(address.description == "02:42:0a:f4:01:02" && !address.isGroup)
        #expect(try #require(MACAddress("33:33:00:00:00:01")).isGroup)
        #expect(MACAddress("02:42:0a:f4:01:+2") == nil)
        #expect(IPAddress("10.244.1.2\0") == nil && IPAddress("fd00::1\0x") == nil)
        #expect(MACAddress("02:42:0a:f4:01") == nil && MACAddress("2:42:0a:f4:01:020") == nil)
    }
}

@Suite("A network")
struct NetworkTests {
    @Test(
        "contains its own and no other",
        arguments: [
            ("10.244.0.0/16", "10.244.255.255", true),
            ("10.244.0.0/16", "10.245.0.0", false),
            ("10.244.1.7/24", "10.244.1.0", true),
            ("10.244.1.7", "10.244.1.7", true),
            ("10.244.1.7", "10.244.1.6", false),
            ("0.0.0.0/0", "192.0.2.1", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00:10:244::/56", "fd00:10:244:ff::1", true),
            ("fd00:10:244::/56", "fd00:10:244:100::1", false),
            ("fd00::/64", "fd00::ffff:0:0:1", true),
            ("fd00::8000/113", "fd00::ffff", true),
            ("fd00::8000/113", "fd00::7fff", false),
            ("::/0", "fe80::1", true),
        ])
    func membership(network: String, address: String, isMember: Bool) throws {
        let network = try #require(IPNetwork(network))
        #expect(network.contains(try #require(IPAddress(address))) == isMember)
    }

    @Test(
        "overlaps what shares an address with it",
        arguments: [
            ("10.0.0.0/8", "10.96.0.0/16", true),
            ("10.244.0.0/16", "10.96.0.0/16", false),
            ("0.0.0.0/0", "::/0", false),
            ("fd00::/16", "fd00:10:96::/112", true),
            ("fe80::/10", "fd00::/16", false),
        ])
    func overlap(one: String, other: String, doOverlap: Bool) throws {
        let (one, other) = (try #require(IPNetwork(one)), try #require(IPNetwork(other)))
        #expect(one.overlaps(other) == doOverlap && other.overlaps(one) == doOverlap)
    }

    @Test(
        "refuses what is not one",
        arguments: [
            "10.244.0.0/33", "10.244.0.0/", "10.244.0.0/+8", "::/129", "10.244/16", "/8", "",
        ])
    func refused(text: String) {
        #expect(IPNetwork(text) == nil)
    }
}
