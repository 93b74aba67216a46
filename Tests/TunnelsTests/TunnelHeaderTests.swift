import Addressing
import Testing
import Tunnels

@Suite("A tunnel's header")
struct TunnelHeaderTests {
    /// The bytes as tshark reads them back; the captures of the integration test agree.
    static let headers: [(kind: TunnelProtocol, network: UInt32, bytes: [UInt8])] = [
        (.vxlan, 0, [0x08, 0, 0, 0, 0, 0, 0, 0]),
        (.vxlan, 1, [0x08, 0, 0, 0, 0, 0, 1, 0]),
        (.vxlan, 0x12_3456, [0x08, 0, 0, 0, 0x12, 0x34, 0x56, 0]),
        (.vxlan, 0xff_ffff, [0x08, 0, 0, 0, 0xff, 0xff, 0xff, 0]),
        (.geneve, 0, [0, 0, 0x65, 0x58, 0, 0, 0, 0]),
        (.geneve, 7, [0, 0, 0x65, 0x58, 0, 0, 7, 0]),
        (.geneve, 0xff_ffff, [0, 0, 0x65, 0x58, 0xff, 0xff, 0xff, 0]),
        // Bits that the field has no room for touch nothing else.
        (.geneve, 0xff00_0007, [0, 0, 0x65, 0x58, 0, 0, 7, 0]),
    ]

    @Test("is written as the RFC has it", arguments: 0..<headers.count)
    func writes(row: Int) {
        let (kind, network, bytes) = Self.headers[row]
        var target = [UInt8](repeating: 0xa5, count: 11)
        var span = target.mutableSpan
        var raw = unsafe span.mutableBytes
        TunnelHeader(kind, network: network).store(into: &raw, at: 3)
        #expect(target == [0xa5, 0xa5, 0xa5] + bytes)
    }
}

@Suite("A tunnel's receiver")
struct TunnelTargetTests {
    static let forms: [(text: String, target: TunnelTarget, description: String)] = [
        (
            "vxlan://sensor", TunnelTarget(.vxlan, host: "sensor", port: 4789, network: 1),
            "vxlan://sensor:4789?vni=1"
        ),
        (
            "VXLAN://192.0.2.1:4790?vni=0",
            TunnelTarget(.vxlan, host: "192.0.2.1", port: 4790, network: 0),
            "vxlan://192.0.2.1:4790?vni=0"
        ),
        (
            "geneve://[fd00::1]?vni=16777215",
            TunnelTarget(.geneve, host: "fd00::1", port: 6081, network: 0xff_ffff),
            "geneve://[fd00::1]:6081?vni=16777215"
        ),
        (
            "geneve://[fe80::1%eth0]:9",
            TunnelTarget(.geneve, host: "fe80::1%eth0", port: 9, network: 1),
            "geneve://[fe80::1%eth0]:9?vni=1"
        ),
    ]

    @Test("is read in each of its forms", arguments: 0..<forms.count)
    func reads(row: Int) throws {
        let (text, target, description) = Self.forms[row]
        #expect(TunnelTarget.isTunnel(text))
        #expect(try TunnelTarget(text) == target)
        #expect(target.description == description)
        #expect(try TunnelTarget(description) == target)
    }

    private static let noPort = HostPort.Failure.noPort(1...65_535)

    static let refused: [(text: String, failure: TunnelTarget.Failure)] = [
        ("", .scheme), ("sensor", .scheme), ("vxlan:sensor", .scheme), ("gre://sensor", .scheme),
        ("rpcap://sensor", .scheme), ("vxlan://", .place(.noHost)),
        ("vxlan://:4789", .place(.noHost)),
        ("vxlan://?vni=1", .place(.noHost)), ("vxlan://a b", .place(.strangeHost)),
        ("vxlan://sensor:0", .place(noPort)), ("vxlan://sensor:65536", .place(noPort)),
        ("vxlan://sensor:x", .place(noPort)), ("vxlan://fd00::1", .bareIPv6),
        ("vxlan://[fd00::1", .place(.bracketNotClosed)), ("vxlan://user@sensor", .user),
        ("vxlan://sensor/", .path), ("vxlan://sensor?vni=1/2", .path), ("vxlan://sensor?", .query),
        ("vxlan://sensor?vni", .query), ("vxlan://sensor?id=1", .query),
        ("vxlan://sensor?vni=1&vni=2", .query), ("vxlan://sensor?vni=", .network),
        ("vxlan://sensor?vni=-1", .network), ("vxlan://sensor?vni=+1", .network),
        ("vxlan://sensor?vni=16777216", .network), ("vxlan://sensor?vni=99999999999", .network),
        ("geneve://sensor?vni=0x10", .network),
    ]

    @Test("is refused with its reason", arguments: 0..<refused.count)
    func refuses(row: Int) {
        let (text, failure) = Self.refused[row]
        #expect(throws: failure) { try TunnelTarget(text) }
        #expect(!failure.description.isEmpty)
    }
}
