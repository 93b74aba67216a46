import Addressing
import BPF
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 9 exists twice as well: in programs, and for what they leave to user space.
@Suite("The selection of packets")
struct SelectionTests {
    @Test("is the same in programs and in user space", arguments: [1, 2, 3] as [UInt64])
    func differential(seed: UInt64) {
        var generator = RandomNumbers(seed)
        let sample = FlowSample(oneIn: 2)
        let frames = (0..<40_000).map { _ in GeneratedFrame.make(with: &generator) }
        // Every fortieth flow is cut, as far as a program has room.
        let cutFlows = Set(
            stride(from: 0, to: frames.count, by: 40).compactMap { Self.flow(of: frames[$0]) })
        let selection = FlowSelection(sample: sample, cutFlows: Array(cutFlows.prefix(64)))
        let fastPath = FastPath(Site.rule)
        let points = [Site.atA, Site.atB, Site.atRoutedA].flatMap { point in
            TapSide.allCases.map { point.captured(at: $0) }
        }
        let programs = points.map { point in
            (
                point, EdgeProgram(Site.rule, at: point, snaplen: 262_144),
                EdgeProgram(Site.rule, at: point, snaplen: 262_144, selection: selection)
            )
        }
        var counts: [String: Int] = [:]
        for frame in frames {
            let (point, plain, chosen) = programs[Int.random(in: points.indices, using: &generator)]
            let direction = Direction.random(with: &generator)
            let before = plain.verdict(on: frame, direction: direction, at: point.side)
            let verdict = chosen.verdict(on: frame, direction: direction, at: point.side)
            let wanted = before == .keep ? Self.wanted(frame, selection) : nil
            counts["\(before) \(verdict)", default: 0] += 1
            let isCleared = fastPath.clears(
                frame.wire, toPod: direction == .toPod, at: EdgeMACs(point))
            let isRight =
                verdict == .punt
                ? !isCleared : before == .keep ? verdict == wanted : verdict == before
            #expect(isRight, "\(before) became \(verdict): \(frame)")
        }
        for kind in ["keep keep", "keep drop", "drop drop", "punt punt"] {
            #expect(counts[kind, default: 0] > 100, "\(counts)")
        }
    }

    private static func flow(of frame: [UInt8]) -> FlowKey? {
        guard let packet = Headers(frame.wire).packet, packet.ports != nil,
            packet.transport == IPProtocol.tcp || packet.transport == IPProtocol.udp
        else { return nil }
        return FlowKey(packet)
    }

    /// What is to become of a frame that would be kept, by the forms for user space.
    private static func wanted(_ frame: [UInt8], _ selection: FlowSelection) -> EdgeProgram.Verdict
    {
        guard let packet = Headers(frame.wire).packet else { return .keep }
        let flow = FlowKey(of: packet, in: frame.wire, reportedWith: nil)
        if let sample = selection.sample, !sample.contains(flow) { return .drop }
        guard selection.cutFlows.contains(flow),
            let content = FlowCutoff.Content(packet, in: frame.wire, wireByteCount: frame.count)
        else { return .keep }
        // A program does not read how much a datagram holds.
        let isDatagram = content.flags == nil
        let isEnding = (content.flags ?? 0) & 0x07 != 0
        return isDatagram || content.payloadByteCount > 0 && !isEnding ? .drop : .keep
    }

    @Test(
        "of flows has its share of them, the same in both directions", arguments: [2, 3, 10, 100])
    func share(flowCount: Int) {
        let sample = FlowSample(oneIn: UInt32(flowCount))
        var generator = RandomNumbers(UInt64(flowCount))
        let count = 40_000
        var chosenCounts = [0, 0]
        for number in 0..<count {
            // One client's connections to one server, and all kinds of others.
            let isPlain = number % 2 == 0
            let flow = FlowKey(
                transport: isPlain ? 6 : [6, 17, 132].randomElement(using: &generator) ?? 6,
                source: isPlain ? Site.a4 : Self.address(with: &generator),
                destination: isPlain ? Site.b4 : Self.address(with: &generator),
                sourcePort: isPlain
                    ? UInt16(truncatingIfNeeded: 20_000 + number / 2)
                    : .random(in: 1...65_535, using: &generator),
                destinationPort: isPlain ? 80 : .random(in: 1...65_535, using: &generator))
            let isChosen = sample.contains(flow)
            #expect(isChosen == sample.contains(flow.reversed))
            if isChosen { chosenCounts[number % 2] += 1 }
        }
        for chosenCount in chosenCounts {
            let trials = Double(count / 2)
            let share = 1 / Double(flowCount)
            let deviation = (trials * share * (1 - share)).squareRoot()
            #expect(abs(Double(chosenCount) - trials * share) < 5 * deviation)
        }
    }

    private static func address(with generator: inout RandomNumbers) -> IPAddress {
        IPAddress(ipv4: 0x0af4_0000 | .random(in: 0...0xffff, using: &generator))
    }

    @Test("has ICMP errors and translated packets with their flow")
    func errors() throws {
        let inner = Frame.ip(from: Site.a4, to: Site.b4, protocol: 6, Frame.ports(40_000, 80))
        let error = Frame.ip(
            from: Site.node4, to: Site.a4, protocol: 1, [3, 3, 0, 0, 0, 0, 0, 0] + inner)
        let frame = Frame.ethernet(
            to: Site.aMAC, from: Site.bridgeMAC, type: EtherType.ipv4, error)
        let packet = try #require(Headers(frame.wire).packet)
        let flow = FlowKey(
            transport: 6, source: Site.a4, destination: Site.b4, sourcePort: 40_000,
            destinationPort: 80)
        #expect(FlowKey(of: packet, in: frame.wire, reportedWith: nil) == flow)
        let call = FlowKey(
            transport: 6, source: Site.a4, destination: Site.service4, sourcePort: 40_000,
            destinationPort: 8080)
        let translation = try #require(
            Translation(TrackedFlow(original: call, reply: flow.reversed)))
        for (form, wanted) in [(call, flow), (call.reversed, flow.reversed)] {
            let request = Frame.ethernet(
                to: Site.bMAC, from: Site.aMAC, type: EtherType.ipv4,
                Frame.ip(
                    from: form.source, to: form.destination, protocol: 6,
                    Frame.ports(form.sourcePort, form.destinationPort)))
            let packet = try #require(Headers(request.wire).packet)
            #expect(FlowKey(of: packet, in: request.wire, reportedWith: translation) == wanted)
        }
    }
}

/// The limit on the payload of a flow.
@Suite("A cutoff")
struct FlowCutoffTests {
    private static let flow = FlowKey(
        transport: 6, source: Site.a4, destination: Site.b4, sourcePort: 40_000,
        destinationPort: 80)
    private static let data = FlowCutoff.Content(payloadByteCount: 600, flags: 0x18)
    private static let bare = FlowCutoff.Content(payloadByteCount: 0, flags: 0x10)
    private static let opening = FlowCutoff.Content(payloadByteCount: 0, flags: 0x02)
    private static let ending = FlowCutoff.Content(payloadByteCount: 600, flags: 0x11)

    @Test("leaves out payload beyond it, in each direction by itself")
    func directions() {
        var cutoff = FlowCutoff(byteCountMax: 1000)
        let steps: [(content: FlowCutoff.Content, isBack: Bool, isAdmitted: Bool)] = [
            (Self.opening, false, true), (Self.data, false, true), (Self.data, false, true),
            (Self.data, false, false), (Self.data, true, true), (Self.bare, false, true),
            (Self.ending, false, true), (Self.data, false, false),
            // Another connection of the same ends begins anew.
            (Self.opening, false, true), (Self.data, false, true), (Self.data, false, true),
            (Self.data, false, false),
        ]
        for (index, step) in steps.enumerated() {
            let isAdmitted = cutoff.admits(
                step.isBack ? Self.flow.reversed : Self.flow, step.content, at: 7, now: Site.begin)
            #expect(isAdmitted == step.isAdmitted, "step \(index)")
        }
    }

    @Test("has programs drop a flow that goes on, until it ends or falls silent")
    func programs() {
        var cutoff = FlowCutoff(byteCountMax: 1000)
        var now = Site.begin + .seconds(10)
        func send(_ content: FlowCutoff.Content, _ count: Int = 1, at index: UInt32? = 7) {
            for _ in 0..<count { _ = cutoff.admits(Self.flow, content, at: index, now: now) }
        }
        func lists(after time: Duration) -> [UInt32: [FlowKey]] {
            now = now + time
            _ = cutoff.refresh(edgeCount: 1, now: now)
            return cutoff.dropLists
        }
        send(Self.data, 10)
        #expect(lists(after: .seconds(1)) == [:])
        send(Self.data, 100)
        #expect(lists(after: .seconds(1)) == [7: [Self.flow]])
        #expect(lists(after: .seconds(20)) == [7: [Self.flow]])
        // It is watched for a while; as it goes on, it is dropped again.
        #expect(lists(after: .seconds(15)) == [:])
        send(Self.data)
        #expect(lists(after: .seconds(1)) == [7: [Self.flow]])
        // Now it has ended unseen.
        #expect(lists(after: .seconds(31)) == [:])
        #expect(lists(after: .seconds(3)) == [:])
        #expect(lists(after: .seconds(1)) == [:])
        send(Self.data, 100)
        #expect(lists(after: .seconds(1)) == [7: [Self.flow]])
        send(Self.ending)
        #expect(lists(after: .seconds(1)) == [:])
        // It is dropped where it is reported.
        send(Self.data, 100)
        #expect(lists(after: .seconds(1)) == [7: [Self.flow]])
        send(Self.data, 100, at: 8)
        #expect(lists(after: .seconds(1)) == [8: [Self.flow]])
        send(Self.ending)
        // What is translated no program could drop.
        send(Self.data, 100, at: nil)
        #expect(lists(after: .seconds(1)) == [:])
    }

    @Test("has programs installed at once if a flow that they drop is opened again")
    func urgent() {
        var cutoff = FlowCutoff(byteCountMax: 1000)
        var now = Site.begin + .seconds(10)
        for _ in 0..<100 { _ = cutoff.admits(Self.flow, Self.data, at: 7, now: now) }
        now = now + .seconds(1)
        let isUrgent = cutoff.refresh(edgeCount: 1, now: now)
        #expect(!isUrgent && cutoff.dropLists == [7: [Self.flow]])
        _ = cutoff.admits(Self.flow.reversed, Self.opening, at: 7, now: now)
        now = now + .milliseconds(20)
        let isUrgentNow = cutoff.refresh(edgeCount: 1, now: now)
        #expect(isUrgentNow)
        #expect(cutoff.dropLists == [:])
    }

    @Test("keeps its tables within their bounds")
    func bounds() {
        var cutoff = FlowCutoff(byteCountMax: 1)
        var now = Site.begin + .seconds(10)
        // Flows come while others are dropped already, and those are watched and dropped again.
        for port in 1...5000 as ClosedRange<UInt16> {
            let flow = FlowKey(
                transport: 17, source: Site.a4, destination: Site.b4, sourcePort: port,
                destinationPort: 443)
            let content = FlowCutoff.Content(payloadByteCount: 100, flags: nil)
            for _ in 0..<40 { _ = cutoff.admits(flow, content, at: 7, now: now) }
            guard port.isMultiple(of: 50) else { continue }
            now = now + .seconds(1)
            _ = cutoff.refresh(edgeCount: 1, now: now)
            #expect(cutoff.dropLists[7]?.count ?? 0 <= FlowCutoff.dropCountMax)
        }
        #expect(cutoff.dropLists[7]?.count ?? 0 > 0)
        // Another edge has places of its own.
        for _ in 0..<40 { _ = cutoff.admits(Self.flow, Self.data, at: 8, now: now) }
        now = now + .seconds(1)
        _ = cutoff.refresh(edgeCount: 1, now: now)
        #expect(cutoff.dropLists[8] == [Self.flow])
        let program = EdgeProgram(
            Site.rule, at: Site.atA, snaplen: 262_144,
            selection: FlowSelection(cutFlows: cutoff.dropLists[7] ?? []))
        #expect(program.decides && program.program.isForKernel)
    }
}
