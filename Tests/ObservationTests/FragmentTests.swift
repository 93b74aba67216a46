import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Fragments, which follow the first one of their datagram, in any order and whatever they claim.
@Suite("Fragments")
struct FragmentTests {
    private static let low: (UInt16, UInt16) = (80, 40_000)
    private static let high: (UInt16, UInt16) = (40_000, 80)

    /// Returns a fragment of a datagram between pods a and c, over IPv4 or IPv6.
    private static func fragment(
        _ family: IPAddress.Family, at offset: Int, isLast: Bool = false,
        ports: (UInt16, UInt16)? = nil, identification: UInt8 = 1, protocol number: UInt8 = 17,
        extensions: [UInt8] = []
    ) -> [UInt8] {
        let payload = ports.map { Frame.ports($0.0, $0.1) } ?? [UInt8](repeating: 7, count: 24)
        let more: UInt16 = isLast ? 0 : 1
        guard family == .ipv6 else {
            var bytes = Frame.ip(
                from: Site.a4, to: Site.c4, protocol: number,
                fragment: UInt16(offset / 8) | more << 13, payload)
            bytes[5] = identification
            return Frame.ethernet(
                to: Site.bridgeMAC, from: Site.aMAC, type: EtherType.ipv4, bytes)
        }
        let field = UInt16(offset) | more
        let header: [UInt8] = [
            number, 0, UInt8(field >> 8), UInt8(field & 0xff), 0, 0, 0, identification,
        ]
        // A destination options header may stand before the fragment header.
        let first: UInt8 = extensions.isEmpty ? 44 : 60
        return Frame.ethernet(
            to: Site.bridgeMAC, from: Site.aMAC, type: EtherType.ipv6,
            Frame.ip(
                from: Site.a6, to: Site.c6, protocol: first, extensions + header + payload))
    }

    @Test("go where the first fragment's ports say", arguments: IPAddress.Family.allCases)
    func inOrder(family: IPAddress.Family) {
        for (ports, isReported) in [(Self.low, true), (Self.high, false)] {
            var slowPath = SlowPath(Site.rule)
            for frame in [
                Self.fragment(family, at: 0, ports: ports), Self.fragment(family, at: 24),
                Self.fragment(family, at: 48, isLast: true),
            ] {
                let outcome = slowPath.outcome(on: frame)
                #expect(outcome?.decision.isReported == isReported)
                #expect(outcome?.isFragment == true)
            }
        }
    }

    @Test(
        "are held until the first fragment comes, if they may be",
        arguments: IPAddress.Family.allCases)
    func outOfOrder(family: IPAddress.Family) {
        var slowPath = SlowPath(Site.rule)
        let last = Self.fragment(family, at: 24, isLast: true)
        guard case .hold(let datagram) = slowPath.step(last, mayHold: true) else {
            Issue.record("was not held")
            return
        }
        let first = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.high))
        #expect(first?.firstFragmentOf == datagram)
        #expect(slowPath.outcome(on: last)?.decision == .refuse(.observedEnd))
        // If it may not be held, the addresses decide: the lower one is here.
        var impatient = SlowPath(Site.rule)
        #expect(impatient.outcome(on: last)?.decision == .report(.observedEnd))
    }

    @Test("are told apart by identification", arguments: IPAddress.Family.allCases)
    func identification(family: IPAddress.Family) {
        var slowPath = SlowPath(Site.rule)
        _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.high, identification: 1))
        _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.low, identification: 2))
        for (identification, isReported) in [(1, false), (2, true)] as [(UInt8, Bool)] {
            let outcome = slowPath.outcome(
                on: Self.fragment(family, at: 24, identification: identification))
            #expect(outcome?.decision.isReported == isReported)
        }
    }

    @Test(
        "that overlap or lie change nothing but their own datagram",
        arguments: IPAddress.Family.allCases)
    func lies(family: IPAddress.Family) {
        var slowPath = SlowPath(Site.rule)
        _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.high))
        // A second fragment that overlaps the first, with bytes that look like other ports.
        let overlap = Self.fragment(family, at: 8, ports: Self.low)
        #expect(slowPath.outcome(on: overlap)?.decision == .refuse(.observedEnd))
        // Two first fragments: later ones follow the latest, as both edges see the same order.
        _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.low))
        #expect(slowPath.outcome(on: overlap)?.decision == .report(.observedEnd))
    }

    @Test("of IPv6 may come behind extension headers, and then the first one tells the transport")
    func extensionHeaders() {
        var slowPath = SlowPath(Site.rule)
        let options: [UInt8] = [44, 0, 1, 4, 0, 0, 0, 0]
        _ = slowPath.outcome(on: Self.fragment(.ipv6, at: 0, ports: Self.high, extensions: options))
        let rest = Self.fragment(.ipv6, at: 24, isLast: true, extensions: options)
        #expect(slowPath.outcome(on: rest)?.decision == .refuse(.observedEnd))
    }

    @Test(
        "of another datagram under the same identification wait, if all of the first one has come",
        arguments: IPAddress.Family.allCases)
    func reuse(family: IPAddress.Family) {
        var slowPath = SlowPath(Site.rule)
        let middle = Self.fragment(family, at: 16)
        let last = Self.fragment(family, at: 40, isLast: true)
        for frame in [Self.fragment(family, at: 0, ports: Self.high), middle, last] {
            #expect(slowPath.outcome(on: frame)?.decision == .refuse(.observedEnd))
        }
        // A piece that repeats another one may be the next datagram's.
        for frame in [last, middle] {
            guard case .hold = slowPath.step(frame, mayHold: true) else {
                Issue.record("was not held")
                continue
            }
        }
        // Without another first fragment it was a copy.
        #expect(slowPath.outcome(on: last)?.decision == .refuse(.observedEnd))
        _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.low))
        for frame in [last, middle] {
            #expect(slowPath.outcome(on: frame)?.decision == .report(.observedEnd))
        }
    }

    @Test("belong to the edge and the direction where they are seen")
    func edges() {
        var slowPath = SlowPath(Site.rule)
        let last = Self.fragment(.ipv4, at: 24, isLast: true)
        _ = slowPath.outcome(on: Self.fragment(.ipv4, at: 0, ports: Self.low))
        for (point, direction) in [(Site.atB, Direction.fromPod), (Site.atA, .toPod)] {
            let step = slowPath.decide(
                Self.to(point, last).wire, direction: direction, at: point, now: Site.begin,
                mayHold: true)
            guard case .hold = step else {
                Issue.record("\(direction) was decided by another edge's first fragment")
                continue
            }
        }
        #expect(slowPath.outcome(on: last)?.decision == .report(.observedEnd))
    }

    /// The frame, to the MAC of the pod at that edge.
    private static func to(_ point: ObservationPoint, _ frame: [UInt8]) -> [UInt8] {
        (point.podMAC?.bytes ?? []) + frame.dropFirst(6)
    }

    @Test(
        "belong to the first one for as long as the kernel waits",
        arguments: [(IPAddress.Family.ipv4, 30), (.ipv6, 60)])
    func age(family: IPAddress.Family, seconds: Int) {
        let last = Self.fragment(family, at: 24, isLast: true)
        for (wait, isHeld) in [
            (Duration.seconds(seconds) - .milliseconds(1), false), (.seconds(seconds), true),
        ] {
            var slowPath = SlowPath(Site.rule)
            _ = slowPath.outcome(on: Self.fragment(family, at: 0, ports: Self.high))
            let step = slowPath.decide(
                last.wire, direction: .fromPod, at: Site.atA, now: Site.begin + wait, mayHold: true)
            if case .hold = step {
                #expect(isHeld)
            } else {
                #expect(!isHeld)
            }
        }
    }

    @Test("that waited long for the first one do not make their datagram's own pieces wait")
    func lead() {
        let (middle, last) = (
            Self.fragment(.ipv4, at: 16), Self.fragment(.ipv4, at: 40, isLast: true)
        )
        for (waited, isHeld) in [(Duration.seconds(1), true), (.milliseconds(1001), false)] {
            var slowPath = SlowPath(Site.rule)
            _ = slowPath.outcome(on: Self.fragment(.ipv4, at: 0, ports: Self.high))
            for frame in [middle, last] {
                let step = slowPath.decide(
                    frame.wire, direction: .fromPod, at: Site.atA, now: Site.begin, waited: waited)
                guard case .decided(let outcome) = step else { continue }
                #expect(outcome.decision == .refuse(.observedEnd))
            }
            if case .hold = slowPath.step(last, mayHold: true) {
                #expect(isHeld)
            } else {
                #expect(!isHeld)
            }
        }
    }

    @Test("that are first and last at once change nothing for others of their name")
    func whole() {
        var slowPath = SlowPath(Site.rule)
        _ = slowPath.outcome(on: Self.fragment(.ipv6, at: 0, ports: Self.high))
        let whole = slowPath.outcome(
            on: Self.fragment(.ipv6, at: 0, isLast: true, ports: Self.low))
        #expect(whole?.decision == .report(.observedEnd))
        #expect(whole?.isFragment == true && whole?.firstFragmentOf == nil)
        let rest = Self.fragment(.ipv6, at: 24, isLast: true)
        #expect(slowPath.outcome(on: rest)?.decision == .refuse(.observedEnd))
    }

    @Test("with a foreign protocol do not wait, as no ports decide about them")
    func withoutPorts() {
        var slowPath = SlowPath(Site.rule)
        let frame = Self.fragment(.ipv4, at: 24, protocol: 47)
        guard case .decided = slowPath.step(frame, mayHold: true) else {
            Issue.record("was held")
            return
        }
    }

    @Test("of more datagrams than there is room for evict the oldest ones")
    func bomb() {
        var slowPath = SlowPath(Site.rule)
        var generator = RandomNumbers(3)
        for _ in 0..<20_000 {
            var frame = Self.fragment(.ipv4, at: 0, ports: Self.high)
            frame[18] = UInt8.random(in: 0...255, using: &generator)
            frame[19] = UInt8.random(in: 0...255, using: &generator)
            frame[29] = UInt8.random(in: 0...255, using: &generator)
            _ = slowPath.outcome(on: frame)
        }
        #expect(slowPath.datagramCount <= SlowPath.datagramCountMax)
        #expect(slowPath.datagramCount > 1000)
    }
}

extension SlowPath {
    fileprivate mutating func step(_ frame: [UInt8], mayHold: Bool = false) -> Step {
        decide(frame.wire, direction: .fromPod, at: Site.atA, now: Site.begin, mayHold: mayHold)
    }

    fileprivate mutating func outcome(on frame: [UInt8]) -> Outcome? {
        guard case .decided(let outcome) = step(frame) else { return nil }
        return outcome
    }
}
