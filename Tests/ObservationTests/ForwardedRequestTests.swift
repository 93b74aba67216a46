import Addressing
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Requests from one pod to another through a third one, such as a firewall, all on one node.
@Suite("Requests that a pod passes on")
struct ForwardedRequestTests {
    /// The wires that a packet crosses: to the firewall, and from there.
    private enum Wire { case clients, servers }

    private enum Packet {
        case request(RequestEdge)
        case answer(RequestEdge)
        case reset(RequestEdge)
    }

    private struct Event {
        let edge: UInt32
        let wire: Wire
        let packet: Packet
        let milliseconds: Int
    }

    /// What is reported, on which wire: requests, and resets.
    private struct Count: Equatable {
        var requests: [Wire: Int] = [:]
        var resets: [Wire: Int] = [:]
    }

    private static let client: UInt32 = 1
    private static let firewall: UInt32 = 2
    private static let server: UInt32 = 3
    private static let serverAddress = address("10.244.1.99")
    private static let localEdges = LocalEdges([
        (client, [Site.a4]), (firewall, [Site.b4]), (server, [serverAddress]),
    ])
    private static let key = RequestKey(
        FlowKey(
            transport: 6, source: Site.a4, destination: serverAddress, sourcePort: 40_000,
            destinationPort: 80))

    private static let sent = Event(
        edge: client, wire: .clients, packet: .request(.sender), milliseconds: 0)
    private static let got = Event(
        edge: firewall, wire: .clients, packet: .request(.observedEnd), milliseconds: 1)
    private static let passedOn = Event(
        edge: firewall, wire: .servers, packet: .request(.sender), milliseconds: 2)
    private static let arrived = Event(
        edge: server, wire: .servers, packet: .request(.observedEnd), milliseconds: 3)

    /// What the server sends back, on its way to the client.
    private static func back(_ packet: (RequestEdge) -> Packet) -> [Event] {
        [
            Event(edge: server, wire: .servers, packet: packet(.observedEnd), milliseconds: 4),
            Event(edge: firewall, wire: .servers, packet: packet(.sender), milliseconds: 5),
            Event(edge: firewall, wire: .clients, packet: packet(.observedEnd), milliseconds: 6),
            Event(edge: client, wire: .clients, packet: packet(.sender), milliseconds: 7),
        ]
    }

    @Test("reach the sensor once on each wire, if they are answered")
    func answered() {
        check(
            [Self.sent, Self.got, Self.passedOn, Self.arrived] + Self.back(Packet.answer),
            Count(requests: [.clients: 1, .servers: 1]))
    }

    @Test("reach the sensor once on each wire, if they are reset there")
    func refused() {
        check(
            [Self.sent, Self.got, Self.passedOn, Self.arrived] + Self.back(Packet.reset),
            Count(requests: [.clients: 1, .servers: 1], resets: [.clients: 1, .servers: 1]))
    }

    @Test("reach the sensor once on each wire, if nobody answers")
    func unanswered() {
        check(
            [Self.sent, Self.got, Self.passedOn, Self.arrived],
            Count(requests: [.clients: 1, .servers: 1]))
    }

    @Test("reach the sensor once, if the pod drops or resets them")
    func denied() {
        check([Self.sent, Self.got], Count(requests: [.clients: 1]))
        check(
            [Self.sent, Self.got] + Self.back(Packet.reset).suffix(2),
            Count(requests: [.clients: 1], resets: [.clients: 1]))
    }

    @Test("leave a reset to the pod that sends it in another one's name, but are not hidden by it")
    func strangers() {
        // It has not got the request.
        let reset = [
            Event(
                edge: Self.firewall, wire: .clients, packet: .reset(.observedEnd), milliseconds: 6),
            Event(edge: Self.client, wire: .clients, packet: .reset(.sender), milliseconds: 7),
        ]
        check(
            [
                Self.sent,
                Event(
                    edge: Self.server, wire: .clients, packet: .request(.observedEnd),
                    milliseconds: 1),
            ] + reset, Count(requests: [.clients: 1], resets: [.clients: 1]))
    }

    /// Has the rings of the three edges read in each order, and all of them as the packets pass.
    private func check(_ events: [Event], _ expected: Count) {
        #expect(Self.count(events) == expected)
        for first in 1...3 as ClosedRange<UInt32> {
            for second in 1...3 as ClosedRange<UInt32> where second != first {
                let order = [first, second, 6 - first - second]
                let read = order.flatMap { edge in events.filter { $0.edge == edge } }
                #expect(Self.count(read) == expected, "\(order)")
            }
        }
    }

    /// Counts what is reported, as `Pipeline` does it.
    private static func count(_ events: [Event]) -> Count {
        var (table, count) = (RequestTable(), Count())
        var held: [Int: Event] = [:]

        func settle(_ release: RequestTable.Release) {
            guard let event = held.removeValue(forKey: release.slot), release.fate.isReported
            else { return }
            if case .reset = event.packet {
                count.resets[event.wire, default: 0] += 1
            } else {
                count.requests[event.wire, default: 0] += 1
            }
        }

        for event in events {
            let seenAt = 1_700_000_000_000_000_000 + UInt64(event.milliseconds) * 1_000_000
            let isReset = if case .reset = event.packet { true } else { false }
            switch event.packet {
            case .request(let edge):
                let holding = table.hold(
                    key, at: edge, isOtherEdgeHere: edge == .sender, on: event.edge,
                    isPassedOn: edge == .sender
                        && localEdges.isForeign(key.source, atEdge: event.edge),
                    seenAt: seenAt, now: now)
                if case .held(let slot) = holding { held[slot] = event }
            case .answer(let edge), .reset(let edge):
                let answerer = table.answerer(to: key, at: edge, on: event.edge, localEdges)
                if answerer != .stranger || isReset {
                    var hasSendersEdge = false
                    while let release = table.release(
                        answered: key, at: edge, isReset: isReset, on: event.edge, by: answerer,
                        seenAt: seenAt, now: now)
                    {
                        settle(release)
                        if release.fate == .answeredThere, !release.isPassedOn {
                            hasSendersEdge = true
                        }
                    }
                    if edge == .observedEnd, isReset || !hasSendersEdge {
                        table.record(
                            answerTo: key, isReset: isReset, on: event.edge, by: answerer,
                            seenAt: seenAt, now: now)
                    }
                }
                guard isReset else { continue }
                if edge == .observedEnd {
                    count.resets[event.wire, default: 0] += 1
                } else if case .held(let slot) = table.holdReset(key, seenAt: seenAt, now: now) {
                    held[slot] = event
                }
            }
        }
        while let release = table.takeFirst() { settle(release) }
        return count
    }

    private static let now = MonotonicTime(nanoseconds: 5_000_000_000)
}
