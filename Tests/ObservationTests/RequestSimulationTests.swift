import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Step 8 as a whole: each packet of random conversations comes out of the two edges once.
///
/// The conversations are in `Conversations`, and what a node does with them is in `SimulatedNode`.
@Suite("Requests between two edges")
struct RequestSimulationTests {
    @Test(
        "reach the sensor once, with their answers behind them",
        arguments: [(true, 1), (true, 2), (false, 3), (false, 4)] as [(Bool, UInt64)])
    func once(isOneNode: Bool, seed: UInt64) {
        var generator = RandomNumbers(seed)
        let conversations = Conversations(
            count: 25_000, isOneNode: isOneNode, with: &generator)
        var reports: [SimulatedNode.Report] = []
        for edges in isOneNode ? [[0, 1]] : [[0], [1]] {
            var node = SimulatedNode(edges: edges, skew: 3_000_000_000 * Int(edges[0]))
            node.run(conversations, with: &generator)
            #expect(node.table.count == 0)
            #expect(node.fullCount == 0)
            reports += node.reports
        }
        #expect(conversations.fault(in: reports) == nil)
        // A generator that only made requests of one kind would prove nothing.
        for fate in Conversations.Fate.allCases {
            #expect(conversations.counts[fate, default: 0] > 1000, "\(fate)")
        }
    }
}

/// Random requests between two pods, at edges 0 and 1, and what becomes of them.
struct Conversations {
    /// What becomes of a request.
    enum Fate: CaseIterable {
        case dies, ignored, answered, answeredLate
        /// A firewall of the sender's node resets the connection in the other pod's name.
        case refusedByFirewall
    }

    /// A packet, and how often it is to be reported.
    struct Packet {
        let flow: FlowKey
        let opening: Opening
        let sentAt: Int
        let reportCount: Int
        /// The request that this packet answers in time.
        var answers: Int?
    }

    /// A packet at an edge, at a time in nanoseconds.
    struct Event {
        let time: Int
        let direction: Direction
        let packet: Int
    }

    private(set) var packets: [Packet] = []
    /// By edge, in order of time.
    private(set) var events: [[Event]] = [[], []]
    private(set) var counts: [Fate: Int] = [:]
    private let isOneNode: Bool

    static let ends = [(Site.a4, Site.b4), (Site.a6, Site.b6)]
    private static let millisecond = 1_000_000

    init(count: Int, isOneNode: Bool, with generator: inout some RandomNumberGenerator) {
        self.isOneNode = isOneNode
        for number in 0..<count {
            let time = Int.random(in: 0..<3000 * Self.millisecond, using: &generator)
            let (flow, sequence) = Self.flow(number, with: &generator)
            let edge = flow.source == Site.a4 || flow.source == Site.a6 ? 0 : 1
            let fate = Fate.allCases.randomElement(using: &generator) ?? .dies
            add(flow, sequence, from: edge, at: time, fate, with: &generator)
            guard fate == .dies || fate == .ignored, flow.transport == IPProtocol.tcp else {
                continue
            }
            // What is not answered is sent again after a second.
            let again = time + Int.random(in: 1000...1200, using: &generator) * Self.millisecond
            let other = Fate.allCases.randomElement(using: &generator) ?? .dies
            add(flow, sequence, from: edge, at: again, other, with: &generator)
        }
        for edge in events.indices { events[edge].sort { $0.time < $1.time } }
    }

    /// Returns a flow that no other number has, in its own direction or the opposite one.
    private static func flow(
        _ number: Int, with generator: inout some RandomNumberGenerator
    ) -> (FlowKey, sequence: UInt16) {
        let (a, b) = ends.randomElement(using: &generator) ?? ends[0]
        let (source, destination) = Bool.random(using: &generator) ? (a, b) : (b, a)
        let port = UInt16(1024 + number)
        if Int.random(in: 0..<3, using: &generator) == 0 {
            let flow = FlowKey(
                transport: a.family == .ipv4 ? IPProtocol.icmp : IPProtocol.icmpv6, source: source,
                destination: destination, sourcePort: port, destinationPort: port)
            return (flow, UInt16.random(in: 0...UInt16.max, using: &generator))
        }
        let other = [
            UInt16.random(in: 1...1023, using: &generator),
            UInt16.random(in: 61_000...65_535, using: &generator), port,
        ].randomElement(using: &generator)
        let flow = FlowKey(
            transport: IPProtocol.tcp, source: source, destination: destination, sourcePort: port,
            destinationPort: other ?? port)
        return (flow, 0)
    }

    private mutating func add(
        _ flow: FlowKey, _ sequence: UInt16, from edge: Int, at time: Int, _ fate: Fate,
        with generator: inout some RandomNumberGenerator
    ) {
        let isTCP = flow.transport == IPProtocol.tcp
        let fate = fate == .refusedByFirewall && !isTCP ? .dies : fate
        counts[fate, default: 0] += 1
        // A firewall's reset on another node than the observed end's looks like the pod's own.
        let isSenderObserved = Rule.lowerEnd(of: flow) == flow.source
        let reportCount =
            fate == .refusedByFirewall && !isOneNode && !isSenderObserved ? 0 : 1
        let request = packets.count
        packets.append(
            Packet(
                flow: flow, opening: isTCP ? .connectionRequest : .echoRequest(sequence),
                sentAt: time, reportCount: reportCount))
        events[edge].append(Event(time: time, direction: .fromPod, packet: request))
        let way = Int.random(in: 10_000...1_000_000, using: &generator)
        switch fate {
        case .dies: return
        case .refusedByFirewall:
            addFirewallReset(of: flow, to: edge, at: time + way)
        case .ignored:
            events[1 - edge].append(Event(time: time + way, direction: .toPod, packet: request))
        case .answered, .answeredLate:
            events[1 - edge].append(Event(time: time + way, direction: .toPod, packet: request))
            let wait =
                Int.random(in: fate == .answered ? 0...400 : 700...2000, using: &generator)
                * Self.millisecond + Int.random(in: 1...20_000, using: &generator)
            let answeredAt = time + way + wait
            let kind = isTCP ? Int.random(in: 0..<6, using: &generator) : 0
            let opening: Opening =
                isTCP ? (kind < 2 ? .reset : .connectionAnswer) : .echoReply(sequence)
            // A pod that resets a connection often sends several resets at once.
            for number in 0..<(kind == 0 && isTCP ? 3 : 1) {
                addAnswer(
                    opening, to: flow, from: 1 - edge, at: answeredAt + 1000 * number, way,
                    isInTime: fate == .answered ? request : nil)
            }
            if kind == 2 {
                addFirewallReset(of: flow, to: edge, at: answeredAt + 2 * way + Self.millisecond)
            }
        }
    }

    /// Adds an answer, which passes both edges.
    private mutating func addAnswer(
        _ opening: Opening, to flow: FlowKey, from edge: Int, at time: Int, _ way: Int,
        isInTime request: Int?
    ) {
        let answer = packets.count
        packets.append(
            Packet(
                flow: flow.reversed, opening: opening, sentAt: time, reportCount: 1,
                answers: request))
        events[edge].append(Event(time: time, direction: .fromPod, packet: answer))
        events[1 - edge].append(Event(time: time + way, direction: .toPod, packet: answer))
    }

    /// Adds a reset in the other pod's name, which passes the sender's edge only.
    private mutating func addFirewallReset(of flow: FlowKey, to edge: Int, at time: Int) {
        let isSenderObserved = Rule.lowerEnd(of: flow) == flow.source
        events[edge].append(Event(time: time, direction: .toPod, packet: packets.count))
        packets.append(
            Packet(
                flow: flow.reversed, opening: .reset, sentAt: time,
                reportCount: isOneNode || isSenderObserved ? 1 : 0))
    }

    /// Returns what is wrong with the reports; nil if each packet is there as often as it should be.
    func fault(in reports: [SimulatedNode.Report]) -> String? {
        var places: [[Int]] = Array(repeating: [], count: packets.count)
        for (place, report) in reports.enumerated() {
            places[report.packet].append(place)
            let delay = report.time - packets[report.packet].sentAt
            if delay > 750 * Self.millisecond {
                return "\(packets[report.packet]) after \(delay) ns"
            }
        }
        for (packet, places_) in zip(packets, places) {
            guard places_.count == packet.reportCount else {
                return "\(packet) reported \(places_.count) times"
            }
            if let request = packet.answers, let place = places_.first,
                let before = places[request].first, before > place
            {
                return "\(packet) before its request"
            }
        }
        return nil
    }
}

/// A node that reads the rings of its edges, and does with each packet what the forwarder does.
struct SimulatedNode {
    /// A packet that is reported, and when.
    struct Report {
        let packet: Int
        let time: Int
    }

    private(set) var reports: [Report] = []
    private(set) var table = RequestTable()
    private(set) var fullCount = 0
    private let edges: [Int]
    /// The difference between this node's clocks and the other's.
    private let skew: Int
    private var slowPath = SlowPath(Site.rule)
    /// The packets in the slots of the table.
    private var held: [Int: Int] = [:]
    private var frames: [Template: [UInt8]] = [:]
    private var time = 0

    /// What the frames of a kind have in common.
    private struct Template: Hashable {
        let source: IPAddress
        let isTCP: Bool
    }

    init(edges: [Int], skew: Int) { (self.edges, self.skew) = (edges, skew) }

    private var now: MonotonicTime {
        MonotonicTime(nanoseconds: UInt64(10_000_000_000 + skew + time))
    }

    private var isOneNode: Bool { edges.count == 2 }

    /// Reads all events: those of an edge come in blocks, up to 20 ms late.
    mutating func run(
        _ conversations: Conversations, with generator: inout some RandomNumberGenerator
    ) {
        var blocks: [(readAt: Int, edge: Int, events: ArraySlice<Conversations.Event>)] = []
        for edge in edges {
            var rest = conversations.events[edge][...]
            var readAt = 0
            while !rest.isEmpty {
                readAt += Int.random(in: 0...20_000_000, using: &generator)
                let end = rest.firstIndex { $0.time > readAt } ?? rest.endIndex
                blocks.append((readAt, edge, rest[..<end]))
                rest = rest[end...]
            }
        }
        blocks.sort { $0.readAt < $1.readAt }
        for block in blocks {
            time = block.readAt
            for event in block.events {
                read(event, conversations.packets[event.packet], at: block.edge)
            }
            expire()
        }
        for _ in 0..<50 {
            time += 20_000_000
            expire()
        }
    }

    private mutating func read(
        _ event: Conversations.Event, _ packet: Conversations.Packet, at edge: Int
    ) {
        let point = ObservationPoint(
            interfaceIndex: UInt32(edge + 1), podMAC: nil, domain: ObservationPoint.Domain([]))
        let step = slowPath.decide(
            frame(of: packet).wire, direction: event.direction, at: point, now: now)
        guard case .decided(let outcome) = step else { return }
        let seenAt = UInt64(1_700_000_000_000_000_000 + skew + event.time)
        switch outcome.requestPart {
        case .request(let key, let edge):
            let holding = table.hold(
                key, at: edge, isOtherEdgeHere: isOneNode && edge == .sender, seenAt: seenAt,
                now: now)
            if isKept(holding, event.packet) { return }
        case .answer(let answer):
            if carryOut(answer, event.packet, outcome.decision, seenAt) { return }
        case nil: break
        }
        if outcome.decision.isReported { report(event.packet) }
    }

    /// Decides about what an answer answers; returns whether the answer itself is held.
    private mutating func carryOut(
        _ answer: RequestPart.Answer, _ packet: Int, _ decision: Decision, _ seenAt: UInt64
    ) -> Bool {
        while let release = table.release(
            answered: answer.key, at: answer.edge, isReset: answer.isReset, seenAt: seenAt, now: now
        ) {
            settle(release)
        }
        if answer.edge == .observedEnd {
            if isOneNode {
                table.record(
                    answerTo: answer.key, isReset: answer.isReset, seenAt: seenAt, now: now)
            }
            return false
        }
        guard answer.isReset, !decision.isReported, isOneNode else { return false }
        return isKept(table.holdReset(answer.key, seenAt: seenAt, now: now), packet)
    }

    private mutating func isKept(_ holding: RequestTable.Holding, _ packet: Int) -> Bool {
        switch holding {
        case .held(let slot): held[slot] = packet
        case .answered: break
        case .full:
            fullCount += 1
            return false
        }
        return true
    }

    private mutating func expire() {
        while let release = table.takeExpired(now: now) { settle(release) }
    }

    private mutating func settle(_ release: RequestTable.Release) {
        guard let packet = held.removeValue(forKey: release.slot) else { return }
        if release.fate.isReported { report(packet) }
    }

    private mutating func report(_ packet: Int) {
        reports.append(Report(packet: packet, time: time))
    }

    private mutating func frame(of packet: Conversations.Packet) -> [UInt8] {
        let (flow, isTCP) = (packet.flow, packet.flow.transport == IPProtocol.tcp)
        let template = Template(source: flow.source, isTCP: isTCP)
        var frame =
            frames[template]
            ?? Frame.ethernet(
                to: Site.aMAC, from: Site.bMAC, type: Frame.type(of: flow.source),
                Frame.ip(
                    from: flow.source, to: flow.destination, protocol: flow.transport,
                    [UInt8](repeating: 0, count: 20)))
        frames[template] = frame
        let start = frame.count - 20
        if isTCP {
            frame.set(flow.sourcePort, at: start)
            frame.set(flow.destinationPort, at: start + 2)
        } else {
            frame.set(flow.sourcePort, at: start + 4)
            frame.set(packet.opening.sequence, at: start + 6)
        }
        switch packet.opening {
        case .connectionRequest: frame[start + 13] = 0x02
        case .connectionAnswer: frame[start + 13] = 0x12
        case .reset: frame[start + 13] = 0x14
        case .echoRequest: frame[start] = flow.source.family == .ipv4 ? 8 : 128
        case .echoReply: frame[start] = flow.source.family == .ipv4 ? 0 : 129
        }
        return frame
    }
}

extension Array where Element == UInt8 {
    fileprivate mutating func set(_ value: UInt16, at offset: Int) {
        (self[offset], self[offset + 1]) = (UInt8(value >> 8), UInt8(value & 0xff))
    }
}
