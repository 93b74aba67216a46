import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Packets
import Testing
import Time

/// Random datagrams in pieces, as two edges see them, against a model that knows what belongs together.
@Suite("Fragments in any order")
struct FragmentOrderTests {
    /// What is done to the pieces of a round.
    enum Kind: CaseIterable {
        /// Identifications are used again as soon as a datagram has passed.
        case reuse
        /// The first fragment comes up to 25 seconds after the others.
        case late
        /// Some pieces come again.
        case repeated
        /// Some pieces never come.
        case lost
        /// Pieces overlap.
        case overlapping
    }

    @Test("reach the sensor once, from the edge that the ports name", arguments: Kind.allCases)
    func orders(kind: Kind) {
        for seed in 0..<300 as Range<UInt64> {
            var round = Round(kind, seed: seed)
            round.run()
            for (number, piece) in round.pieces.enumerated() {
                let reports = round.reports[number] ?? []
                guard reports != Array(repeating: piece.reporter, count: piece.copyCount) else {
                    continue
                }
                Issue.record("\(kind), seed \(seed), piece \(number): \(reports), not \(piece)")
                return
            }
        }
    }
}

/// A piece of a datagram, and what the model knows about it.
private struct Piece {
    let isFirst: Bool
    let isFromA: Bool
    let bytes: [UInt8]
    /// The edge whose pod has the lower port.
    var reporter: UInt32
    var copyCount = 1
}

/// Some datagrams between two pods of a node, as they pass the edges of both.
private struct Round {
    private(set) var pieces: [Piece] = []
    /// The edges that have reported each piece.
    private(set) var reports: [Int: [UInt32]] = [:]
    private let kind: FragmentOrderTests.Kind
    private var generator: RandomNumbers
    private var slowPath = SlowPath(Site.rule)
    private var now = Site.begin
    private var waiting:
        [(piece: Int, point: ObservationPoint, EdgeDatagram, since: MonotonicTime)] =
            []
    /// What passes each edge, in its order.
    private var streams: [2 of [Int]] = [[], []]

    init(_ kind: FragmentOrderTests.Kind, seed: UInt64) {
        self.kind = kind
        generator = RandomNumbers(seed)
        for number in 0..<UInt8.random(in: 1...(kind == .late ? 2 : 6), using: &generator) {
            addDatagram(kind == .reuse ? number % 2 : number)
        }
    }

    /// Has the agent read the edges' rings in any order.
    mutating func run() {
        while let edge = streams.indices.filter({ !streams[$0].isEmpty })
            .randomElement(using: &generator)
        {
            now = now + (kind == .late ? .milliseconds(250) : .milliseconds(1))
            decide(streams[edge].removeFirst(), at: edge == 0 ? Site.atA : Site.atB)
        }
        let last = waiting
        waiting = []
        for (piece, point, _, since) in last { decide(piece, at: point, waitingSince: since) }
        for piece in reports.keys { reports[piece]?.sort() }
    }

    private mutating func decide(
        _ number: Int, at point: ObservationPoint, waitingSince: MonotonicTime? = nil
    ) {
        let piece = pieces[number]
        let isSender = piece.isFromA == (point == Site.atA)
        var frame = piece.bytes
        if !isSender { frame.replaceSubrange(0..<6, with: point.podMAC?.bytes ?? []) }
        let step = slowPath.decide(
            frame.wire, direction: isSender ? .fromPod : .toPod, at: point, now: now,
            mayHold: waitingSince == nil, waited: waitingSince.map { now - $0 } ?? .zero)
        switch step {
        case .lookUp: Issue.record("is no call to a service")
        case .hold(let datagram): waiting.append((number, point, datagram, now))
        case .decided(let outcome):
            if outcome.decision.isReported {
                reports[number, default: []].append(point.interfaceIndex)
            }
            guard let datagram = outcome.firstFragmentOf else { return }
            let released = waiting.filter { $0.2 == datagram }
            waiting.removeAll { $0.2 == datagram }
            for (piece, point, _, since) in released {
                decide(piece, at: point, waitingSince: since)
            }
        }
    }

    private mutating func addDatagram(_ identification: UInt8) {
        let family: IPAddress.Family = Bool.random(using: &generator) ? .ipv4 : .ipv6
        let isFromA = Bool.random(using: &generator)
        let ports: (UInt16, UInt16) = Bool.random(using: &generator) ? (53, 4000) : (4000, 53)
        let isSenderObserved = ports.0 < ports.1
        let reporter: UInt32 = isSenderObserved == isFromA ? 11 : 12
        let begin = pieces.count
        let count = Int.random(in: 2...24, using: &generator)
        var offset = 0
        for index in 0..<count {
            let byteCount = 8 * Int.random(in: 1...3, using: &generator)
            let extra = kind == .overlapping ? 8 * Int.random(in: 0...1, using: &generator) : 0
            let isLast = index == count - 1
            let payload =
                index == 0
                ? Frame.ports(ports.0, ports.1, more: byteCount + extra - 4)
                : [UInt8](repeating: 9, count: byteCount + (isLast ? -3 : extra))
            pieces.append(
                Piece(
                    isFirst: index == 0, isFromA: isFromA,
                    bytes: Self.frame(
                        family, isFromA, identification, at: offset, isLast: isLast, payload),
                    reporter: reporter))
            offset += byteCount
        }
        pass(Array(begin..<pieces.count), family, isFromA)
    }

    /// Sends pieces through both edges: as they were sent, or in order, as connection tracking does.
    private mutating func pass(_ all: [Int], _ family: IPAddress.Family, _ isFromA: Bool) {
        var sent = all
        switch Int.random(in: 0...3, using: &generator) {
        case 0: break
        case 1: sent.reverse()
        default: sent.shuffle(using: &generator)
        }
        if kind == .late { sent = sent.filter { $0 != all[0] } + [all[0]] }
        if kind == .repeated {
            for piece in all where Int.random(in: 0...3, using: &generator) == 0 {
                pieces[piece].copyCount += 1
                sent.insert(piece, at: Int.random(in: 0...sent.count, using: &generator))
            }
        }
        if kind == .lost {
            let lost = all.filter { _ in Int.random(in: 0...3, using: &generator) == 0 }
            sent.removeAll(where: lost.contains)
            for piece in lost { pieces[piece].copyCount = 0 }
            // Without the first fragment, the lower address stands in for the lower port.
            if lost.contains(all[0]) { for piece in all { pieces[piece].reporter = 11 } }
        }
        let isSorted = kind != .lost && Bool.random(using: &generator)
        streams[isFromA ? 0 : 1] += sent
        streams[isFromA ? 1 : 0] += isSorted ? sent.sorted() : sent
    }

    private static func frame(
        _ family: IPAddress.Family, _ isFromA: Bool, _ identification: UInt8, at offset: Int,
        isLast: Bool, _ payload: [UInt8]
    ) -> [UInt8] {
        let more: UInt16 = isLast ? 0 : 1
        let from = isFromA ? Site.aMAC : Site.bMAC
        guard family == .ipv6 else {
            var bytes = Frame.ip(
                from: isFromA ? Site.a4 : Site.b4, to: isFromA ? Site.b4 : Site.a4, protocol: 17,
                fragment: UInt16(offset / 8) | more << 13, payload)
            bytes[5] = identification
            return Frame.ethernet(to: Site.bridgeMAC, from: from, type: EtherType.ipv4, bytes)
        }
        let field = UInt16(offset) | more
        let header = [17, 0, UInt8(field >> 8), UInt8(field & 255), 0, 0, 0, identification]
        return Frame.ethernet(
            to: Site.bridgeMAC, from: from, type: EtherType.ipv6,
            Frame.ip(
                from: isFromA ? Site.a6 : Site.b6, to: isFromA ? Site.b6 : Site.a6, protocol: 44,
                header + payload))
    }
}
