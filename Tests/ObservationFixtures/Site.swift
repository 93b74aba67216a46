package import Addressing
import BPF
package import Observation
import Packets
package import Time

package func address(_ text: String) -> IPAddress { IPAddress(text) ?? IPAddress(ipv4: 0) }
package func network(_ text: String) -> IPNetwork {
    IPNetwork(text) ?? IPNetwork(address("::"), prefixBitCount: 0)
}
package func mac(_ text: String) -> MACAddress { MACAddress(text) ?? .broadcast }

/// The node in these tests: its pods are a and b; c is a pod of another node.
package enum Site {
    /// The time of packets in tests that let no time pass.
    package static let begin = MonotonicTime(nanoseconds: 1)

    package static let a4 = address("10.244.1.2"), b4 = address("10.244.1.3"),
        c4 = address("10.244.2.2")
    package static let a6 = address("fd00:10:244:1::2"), b6 = address("fd00:10:244:1::3")
    package static let c6 = address("fd00:10:244:2::2")
    package static let aLinkLocal = address("fe80::1:a"), bLinkLocal = address("fe80::1:b")
    package static let extra4 = address("172.20.0.9"), extra6 = address("2001:db8:1::9")
    package static let gateway4 = address("10.244.1.1"), gateway6 = address("fd00:10:244:1::1")
    package static let peerGateway4 = address("10.244.2.0"),
        peerGateway6 = address("fd00:10:244:2::")
    package static let node4 = address("192.168.100.1"), node6 = address("fd00:192:168:100::1")
    package static let uncovered4 = address("10.244.9.9"), uncovered6 = address("fd00:10:244:9::9")
    package static let outside4 = address("203.0.113.7"), outside6 = address("2001:db8::7")
    package static let service4 = address("10.96.0.10"), service6 = address("fd00:10:96::a")
    package static let sensor4 = address("192.168.100.100"),
        sensor6 = address("fd00:192:168:100::100")
    package static let sensorPod4 = address("10.244.2.77"),
        sensorPod6 = address("fd00:10:244:2::77")

    /// An address behind pod a, which is a VPN gateway, in a network that a route of the node names.
    package static let vpn4 = address("10.8.0.5"), vpn6 = address("fd00:8::5")

    package static let all4 = [
        a4, b4, c4, extra4, vpn4, gateway4, peerGateway4, node4, uncovered4, outside4, service4,
        sensor4,
        sensorPod4,
    ]
    package static let all6 = [
        a6, b6, c6, aLinkLocal, bLinkLocal, extra6, vpn6, gateway6, peerGateway6, node6, uncovered6,
        outside6, service6, sensor6, sensorPod6,
    ]

    package static let aMAC = mac("02:00:00:00:00:0a"), bMAC = mac("02:00:00:00:00:0b")
    /// Guests behind a bridge in pod a: one that its program knows, and one beyond what that holds.
    package static let guestMAC = mac("02:00:00:00:0a:01"),
        lateGuestMAC = mac("02:00:00:00:0a:ff")
    /// A machine that the bridge has learned behind a port that is no edge.
    package static let outsideMAC = mac("02:00:00:00:0e:01")
    package static let bridgeMAC = mac("02:00:00:00:00:01"), strangerMAC = mac("02:00:00:00:00:99")

    package static let addressPlan = AddressPlan(
        podNetworks: [network("10.244.0.0/16"), network("fd00:10:244::/56")],
        serviceNetworks: [network("10.96.0.0/16"), network("fd00:10:96::/112")],
        uncovered: [network("10.244.9.0/24"), network("fd00:10:244:9::/64")],
        nodeAddresses: [gateway4, gateway6, peerGateway4, peerGateway6, node4, node6],
        sensors: [sensor4, sensor6, sensorPod4, sensorPod6],
        localPodAddresses: [a4, b4, a6, b6, aLinkLocal, bLinkLocal, extra4, extra6],
        localPodNetworks: [network("10.8.0.0/24"), network("fd00:8::/64")], macs: macs)
    package static let bridge: UInt32 = 10
    package static let macs = {
        var macs = MACTable()
        for mac in [aMAC, guestMAC, lateGuestMAC] { macs.add(mac, on: bridge, at: .edge(11)) }
        macs.add(bMAC, on: bridge, at: .edge(12))
        for mac in [bridgeMAC, outsideMAC] { macs.add(mac, on: bridge, at: .elsewhere) }
        return macs
    }()
    package static let rule = Rule(addressPlan)

    package static let domain = ObservationPoint.Domain([
        (interfaceIndex: 11, addresses: [a4, a6, aLinkLocal]),
        (interfaceIndex: 12, addresses: [b4, b6, bLinkLocal]),
    ])
    package static let atA = ObservationPoint(
        interfaceIndex: 11, podMAC: aMAC, otherMACs: [guestMAC], bridge: bridge,
        bridgeMAC: bridgeMAC, domain: domain)
    package static let bDeviceMAC = mac("02:00:00:00:00:1b")
    package static let atB = ObservationPoint(
        interfaceIndex: 12, podMAC: bMAC, deviceMAC: bDeviceMAC, bridge: bridge,
        bridgeMAC: bridgeMAC, domain: domain)
    /// Pod a on a veth of its own, where nothing is flooded.
    package static let atRoutedA = ObservationPoint(
        interfaceIndex: 11, podMAC: aMAC,
        domain: ObservationPoint.Domain([(interfaceIndex: 11, addresses: [a4, a6])]))
}

/// Builds frames byte by byte.
package enum Frame {
    package static func ethernet(to: MACAddress, from: MACAddress, type: UInt16, _ payload: [UInt8])
        -> [UInt8]
    {
        var bytes = to.bytes + from.bytes
        bytes.append(bigEndian: type)
        return bytes + payload
    }

    package static func ip(
        from source: IPAddress, to destination: IPAddress, protocol number: UInt8,
        fragment: UInt16 = 0, options: Int = 0, length: Int? = nil, _ payload: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        if source.family == .ipv4 {
            bytes += [UInt8(0x45 + options), 0]
            bytes.append(bigEndian: UInt16(length ?? 20 + max(0, options) * 4 + payload.count))
            bytes.append(bigEndian: UInt16(0x1234))
            bytes.append(bigEndian: fragment)
            bytes += [64, number, 0, 0] + source.bytes + destination.bytes
            bytes += [UInt8](repeating: 1, count: max(0, options) * 4)
        } else {
            bytes += [0x60, 0, 0, 0]
            bytes.append(bigEndian: UInt16(length ?? payload.count))
            bytes += [number, 64] + source.bytes + destination.bytes
        }
        return bytes + payload
    }

    package static func ports(_ source: UInt16, _ destination: UInt16, more: Int = 16) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(bigEndian: source)
        bytes.append(bigEndian: destination)
        return bytes + [UInt8](repeating: 0, count: more)
    }

    package static func type(of source: IPAddress) -> UInt16 {
        source.family == .ipv4 ? EtherType.ipv4 : EtherType.ipv6
    }

    package static func arp(
        operation: UInt16, from: MACAddress, _ sender: IPAddress, asking: IPAddress
    )
        -> [UInt8]
    {
        var bytes: [UInt8] = [0, 1, 8, 0, 6, 4]
        bytes.append(bigEndian: operation)
        return bytes + from.bytes + sender.bytes + [UInt8](repeating: 0, count: 6) + asking.bytes
    }

    package static func solicitation(asking target: IPAddress) -> [UInt8] {
        [135, 0, 0, 0, 0, 0, 0, 0] + target.bytes
    }
}

extension ObservationPoint {
    /// Whether the kernel says at random that a frame is addressed to the pod's interface.
    ///
    /// It says so inside pods alone, and not of frames to groups.
    package func isToPodItself(
        _ frame: [UInt8], _ direction: Direction, with generator: inout some RandomNumberGenerator
    ) -> Bool {
        side == .pod && direction == .toPod && frame.first.map { $0 & 1 == 0 } ?? false
            && Bool.random(using: &generator)
    }
}

extension Direction {
    package static func random(with generator: inout some RandomNumberGenerator) -> Self {
        Bool.random(using: &generator) ? .toPod : .fromPod
    }
}

extension EdgeProgram {
    package enum Verdict: Equatable { case drop, keep, punt }

    /// Returns what the program does with a frame.
    ///
    /// Unless the frame is outgoing, the kernel takes it for one of another host, but inside a pod for
    /// the pod's own if that is said.
    package func verdict(
        on frame: [UInt8], direction: Direction, at side: TapSide = .host,
        isToPodItself: Bool = false
    ) -> Verdict {
        var ancillary = Ancillary(direction, at: side)
        // `PACKET_OTHERHOST`.
        if ancillary.packetType != Ancillary.outgoing, !isToPodItself { ancillary.packetType = 3 }
        return switch program.run(on: frame.wire, ancillary) {
        case 0: .drop
        case Self.puntByteCount: .punt
        default: .keep
        }
    }
}

extension SlowPath {
    /// Returns the decision about a frame of whose flow connection tracking knows nothing.
    package mutating func decision(
        on frame: RawSpan, direction: Direction, at point: ObservationPoint,
        now: MonotonicTime = Site.begin
    ) -> Decision? {
        outcome(of: frame, direction: direction, at: point, now: now)?.decision
    }

    /// Returns the outcome for a frame of whose flow connection tracking knows nothing.
    package mutating func outcome(
        of frame: RawSpan, direction: Direction, at point: ObservationPoint,
        isToPodItself: Bool = false, now: MonotonicTime = Site.begin
    ) -> Outcome? {
        var step = decide(
            frame, direction: direction, at: point, isToPodItself: isToPodItself, now: now)
        if case .lookUp(let flow) = step {
            learn(.notFound, about: flow, now: now)
            step = decide(
                frame, direction: direction, at: point, isToPodItself: isToPodItself, now: now)
        }
        guard case .decided(let outcome) = step else { return nil }
        return outcome
    }

    /// Returns the part that such a frame has in a request.
    package mutating func requestPart(
        in frame: [UInt8], _ direction: Direction, at point: ObservationPoint
    ) -> RequestPart? {
        outcome(of: frame.wire, direction: direction, at: point)?.requestPart
    }
}
