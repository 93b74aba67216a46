import Addressing
import BPF
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 2, ownership, where the addresses at hand are not enough.
@Suite("Ownership of a frame")
struct OwnershipTests {
    private static func frame(
        to destination: MACAddress, from source: MACAddress = Site.bridgeMAC,
        _ address: IPAddress = Site.outside4
    ) -> [UInt8] {
        Frame.ethernet(
            to: destination, from: source, type: EtherType.ipv4,
            Frame.ip(from: Site.node4, to: address, protocol: 17, Frame.ports(40_000, 9)))
    }

    private static func unknown(
        _ frame: [UInt8], _ direction: Direction = .toPod, at point: ObservationPoint = Site.atA,
        _ rule: Rule = Site.rule
    ) -> MACAddress? {
        rule.unknownMAC(in: frame.wire, direction: direction, at: point)
    }

    @Test("waits for a MAC address that nobody knows, and for no other")
    func waits() {
        let stranger = Site.strangerMAC
        #expect(Self.unknown(Self.frame(to: stranger)) == stranger)
        #expect(Self.unknown(Self.frame(to: stranger), .fromPod) == nil)
        #expect(Self.unknown(Self.frame(to: stranger), at: Site.atRoutedA) == nil)
        let known = [
            Site.aMAC, Site.guestMAC, Site.lateGuestMAC, Site.bMAC, Site.bridgeMAC, Site.outsideMAC,
        ]
        for mac in known { #expect(Self.unknown(Self.frame(to: mac)) == nil) }
        let duplicates = Rule(Site.addressPlan, deduplicates: false)
        #expect(Self.unknown(Self.frame(to: stranger), duplicates) == nil)
        #expect(Self.unknown([2, 0, 0]) == nil)
    }

    private static func unknown(_ frame: [UInt8], _ rule: Rule) -> MACAddress? {
        unknown(frame, .toPod, at: Site.atA, rule)
    }

    @Test("waits for the sender of a group frame only where that is reported")
    func groups() {
        let group = mac("01:00:5e:00:00:fb")
        let stranger = Self.frame(to: group, from: Site.strangerMAC)
        #expect(Self.unknown(stranger) == Site.strangerMAC)
        #expect(Self.unknown(stranger, at: Site.atB) == Site.strangerMAC)
        for mac in [Site.bridgeMAC, Site.outsideMAC, Site.bMAC, Site.guestMAC] {
            #expect(Self.unknown(Self.frame(to: group, from: mac)) == nil)
        }
    }

    @Test("is settled by what the bridge has learned meanwhile")
    func learned() {
        let frame = Self.frame(to: Site.strangerMAC)
        for (place, here, there) in [
            (MACTable.Place.edge(11), Decision.report(.oneEndIsNoPod), Decision.refuse(.flooded)),
            (.edge(12), .refuse(.flooded), .report(.oneEndIsNoPod)),
            (.elsewhere, .refuse(.flooded), .refuse(.flooded)),
        ] {
            var plan = Site.addressPlan
            plan.macs.add(Site.strangerMAC, on: Site.bridge, at: place)
            let rule = Rule(plan)
            #expect(rule.knows(Site.strangerMAC, at: Site.atA))
            #expect(rule.decision(on: frame.wire, direction: .toPod, at: Site.atA) == here)
            #expect(rule.decision(on: frame.wire, direction: .toPod, at: Site.atB) == there)
            // Another bridge has learned nothing.
            #expect(plan.macs.place(of: Site.strangerMAC, on: Site.bridge + 1) == nil)
            // Programs do not change with what user space decides.
            #expect(rule.hasSamePrograms(as: Site.rule))
        }
        #expect(!Site.rule.knows(Site.strangerMAC, at: Site.atA))
    }

    @Test("is the edge's if more addresses live behind it than are kept")
    func crowded() {
        var plan = Site.addressPlan
        plan.macs = MACTable(crowdedEdges: [11])
        let rule = Rule(plan)
        let frame = Self.frame(to: Site.strangerMAC)
        #expect(Self.unknown(frame, rule) == nil)
        let decision = rule.decision(on: frame.wire, direction: .toPod, at: Site.atA)
        #expect(decision == .report(.oneEndIsNoPod))
    }

    @Test("is not asked where nothing is flooded, or where the pod's address is not known")
    func noTest() {
        let frame = Self.frame(to: Site.strangerMAC, Site.a4)
        let unknown = ObservationPoint(
            interfaceIndex: 11, podMAC: nil, bridge: Site.bridge, bridgeMAC: Site.bridgeMAC,
            domain: Site.domain)
        for point in [Site.atRoutedA, unknown] {
            let decision = Site.rule.decision(on: frame.wire, direction: .toPod, at: point)
            #expect(decision == .report(.oneEndIsNoPod))
            let program = EdgeProgram(Site.rule, at: point, snaplen: 262_144)
            #expect(program.verdict(on: frame, direction: .toPod) == .keep)
            let isCleared = FastPath(Site.rule).clears(
                frame.wire, toPod: true, at: EdgeMACs(point))
            #expect(isCleared)
        }
    }

    @Test("has the kernel drop copies that are flooded again and again, at edges of others alone")
    func floods() {
        let floods: Set = [Site.guestMAC, Site.bMAC, Site.strangerMAC, Site.lateGuestMAC]
        let verdicts = { (point: ObservationPoint, mac: MACAddress) in
            EdgeProgram(Site.rule, at: point, snaplen: 262_144, floods: floods)
                .verdict(on: Self.frame(to: mac), direction: .toPod)
        }
        #expect(verdicts(Site.atA, Site.bMAC) == .drop)
        #expect(verdicts(Site.atA, Site.guestMAC) == .keep)
        #expect(verdicts(Site.atA, Site.lateGuestMAC) == .punt)
        #expect(verdicts(Site.atB, Site.guestMAC) == .drop)
        #expect(verdicts(Site.atB, Site.lateGuestMAC) == .drop)
        #expect(verdicts(Site.atB, Site.bMAC) == .keep)
        // Nobody knows whose it is, so user space goes on asking.
        #expect(verdicts(Site.atB, Site.strangerMAC) == .punt)
    }

    @Test("forgets floods after a while, and is made of many copies only")
    func dropList() {
        var list = FloodDropList()
        let now = Site.begin
        for _ in 0..<31 { list.record(Site.bMAC) }
        list.refresh(now: now)
        #expect(list.addresses.isEmpty)
        // A second later it is counted anew.
        list.refresh(now: now + .seconds(2))
        for _ in 0..<31 { list.record(Site.bMAC) }
        list.refresh(now: now + .seconds(2))
        #expect(list.addresses.isEmpty)
        for _ in 0..<32 { list.record(Site.bMAC) }
        list.refresh(now: now + .seconds(2))
        #expect(list.addresses == [Site.bMAC])
        list.refresh(now: now + .seconds(11))
        #expect(list.addresses == [Site.bMAC])
        list.refresh(now: now + .seconds(13))
        #expect(list.addresses.isEmpty)
        // Anybody can make up addresses.
        for number in 0..<1000 as Range<UInt64> {
            for _ in 0..<32 { list.record(MACAddress(value: 0x0200_0000_0000 + number)) }
        }
        list.refresh(now: now + .seconds(13))
        #expect(list.addresses.count <= FloodDropList.addressCountMax)
    }
}
