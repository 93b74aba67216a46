import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing

/// A segment that several nodes share: what other nodes' pods send without a pod address.
@Suite("A segment of several nodes")
struct SharedSegmentTests {
    private static let atA = ObservationPoint(
        interfaceIndex: 11, podMAC: Site.aMAC, bridge: Site.bridge, bridgeMAC: Site.bridgeMAC,
        hasOtherPorts: true, domain: Site.domain)
    private static let remoteMAC = mac("02:00:00:00:00:0c")
    private static let remoteLinkLocal = address("fe80::c")

    private static func arp(
        from sender: IPAddress, operation: UInt16 = 1, _ source: MACAddress = remoteMAC
    ) -> [UInt8] {
        Frame.ethernet(
            to: .broadcast, from: source, type: EtherType.arp,
            Frame.arp(operation: operation, from: source, sender, asking: Site.a4))
    }

    private static func ip(
        to destination: MACAddress, from source: IPAddress, to target: IPAddress
    ) -> [UInt8] {
        Frame.ethernet(
            to: destination, from: remoteMAC, type: Frame.type(of: source),
            Frame.ip(from: source, to: target, protocol: 17, Frame.ports(68, 67)))
    }

    /// The frame with a hop limit that a router has lowered.
    private static func passedOn(_ frame: [UInt8]) -> [UInt8] {
        var frame = frame
        frame[22] = 63
        return frame
    }

    /// Frames of another node's pod that have no pod address in them.
    private static let anonymous: [[UInt8]] = [
        arp(from: Site.c4, operation: 2),
        Frame.ethernet(
            to: Site.aMAC, from: remoteMAC, type: EtherType.arp,
            Frame.arp(operation: 2, from: remoteMAC, Site.c4, asking: Site.a4)),
        ip(to: .broadcast, from: address("0.0.0.0"), to: address("255.255.255.255")),
        ip(to: Site.aMAC, from: address("0.0.0.0"), to: Site.a4),
        ip(to: mac("33:33:ff:00:00:0c"), from: address("::"), to: address("ff02::1:ff00:c")),
        ip(to: mac("33:33:00:00:00:01"), from: remoteLinkLocal, to: address("ff02::1")),
        ip(to: Site.aMAC, from: remoteLinkLocal, to: Site.aLinkLocal),
        Frame.ethernet(to: mac("01:80:c2:00:00:0e"), from: remoteMAC, type: 0x88cc, [1, 2]),
        Frame.ethernet(to: mac("01:00:0c:cc:cc:cc"), from: remoteMAC, type: 32, [0xaa, 0xaa]),
        Frame.ethernet(to: Site.aMAC, from: remoteMAC, type: 0x8847, [1, 2, 3, 4]),
        Frame.ethernet(to: .broadcast, from: remoteMAC, type: 0x8863, [0x11, 9]),
        Frame.ethernet(to: .broadcast, from: remoteMAC, type: 0x8035, [0, 1]),
        Frame.ethernet(to: Site.aMAC, from: remoteMAC, type: 0x88a8, [0, 5, 8, 0]),
    ]

    private static func isReported(
        _ frame: [UInt8], _ path: inout SlowPath, at point: ObservationPoint = atA
    ) -> Bool? {
        let step = path.decide(frame.wire, direction: .toPod, at: point, now: Site.begin)
        guard case .decided(let outcome) = step else { return nil }
        return outcome.decision.isReported
    }

    /// The frames that are reported after others have been seen.
    private static func reportedCount(
        after seen: [[UInt8]], at point: ObservationPoint = atA
    ) -> Int {
        var path = SlowPath(Site.rule)
        for frame in seen { _ = isReported(frame, &path, at: point) }
        return anonymous.count { isReported($0, &path, at: point) == true }
    }

    @Test("leaves frames without a pod address to the pod that is known by its MAC address")
    func known() {
        let solicitation = Frame.ethernet(
            to: mac("33:33:ff:00:00:02"), from: Self.remoteMAC, type: EtherType.ipv6,
            Frame.ip(
                from: Site.c6, to: address("ff02::1:ff00:2"), protocol: 58,
                Frame.solicitation(asking: Site.a6)))
        let datagram = Self.ip(
            to: mac("01:00:5e:00:00:fb"), from: Site.c4, to: address("224.0.0.251"))
        let unicast = Self.ip(to: Site.aMAC, from: Site.c4, to: Site.a4)
        for proof in [Self.arp(from: Site.c4), solicitation, datagram, unicast] {
            #expect(Self.reportedCount(after: [proof]) == 0)
        }
    }

    @Test("reports what nothing is known about")
    func unknown() {
        // An ARP reply has a pod's address, and is left to it where it goes to a group.
        let all = Self.anonymous.count - 1
        #expect(Self.reportedCount(after: []) == all)
        let noProofs = [
            Self.arp(from: Site.c4, operation: 2), Self.arp(from: Site.uncovered4),
            Self.arp(from: Site.outside4), Self.arp(from: Site.c4, Site.strangerMAC),
            Self.passedOn(Self.ip(to: Site.aMAC, from: Site.c4, to: Site.a4)),
            Self.passedOn(
                Self.ip(to: mac("01:00:5e:01:02:03"), from: Site.c4, to: address("239.1.2.3"))),
        ]
        #expect(Self.reportedCount(after: noProofs) == all)
        // Without an uplink on the bridge nothing comes from other nodes' pods.
        #expect(Self.reportedCount(after: [Self.arp(from: Site.c4)], at: Site.atA) == all)
    }

    @Test("reports what a router sends, even if it has a pod's address as well")
    func router() {
        let passedOn = Self.ip(to: Site.aMAC, from: Site.outside4, to: Site.a4)
        let all = Self.anonymous.count - 1
        #expect(Self.reportedCount(after: [Self.arp(from: Site.c4), passedOn]) == all)
        #expect(Self.reportedCount(after: [passedOn, Self.arp(from: Site.c4)]) == all)
    }
}
