import Addressing
import FuzzSupport
import Observation
import ObservationFixtures
import Testing
import Time

/// The table beside a model of it that is as simple as its description, and as slow.
@Suite("A table of requests and its model")
struct RequestTableModelTests {
    /// What the table releases.
    fileprivate struct Released: Equatable {
        let slot: Int
        let fate: RequestTable.Release.Fate
    }

    /// A list of what waits, and of all answers.
    fileprivate struct Model {
        enum Kind { case remote, local, observedEnd, reset }
        struct Item {
            let key: RequestKey
            let kind: Kind
            let seenAt: UInt64
            let heldAt: MonotonicTime
            let slot: Int
        }
        var items: [Item] = []
        var answers: [RequestKey: [(seenAt: UInt64, isReset: Bool)]] = [:]

        static func isInTime(_ answer: UInt64, _ request: UInt64) -> Bool {
            answer <= request || answer - request <= 500_000_000
        }

        func isAnswered(_ key: RequestKey, seenAt: UInt64) -> Bool {
            answers[key, default: []].contains {
                $0.seenAt >= seenAt && Self.isInTime($0.seenAt, seenAt)
            }
        }

        func isResetSeen(_ key: RequestKey, seenAt: UInt64) -> Bool {
            answers[key, default: []].contains {
                $0.isReset && $0.seenAt <= seenAt && Self.isInTime(seenAt, $0.seenAt)
            }
        }

        mutating func release(
            _ key: RequestKey, at edge: RequestEdge, isReset: Bool, seenAt: UInt64,
            now: MonotonicTime
        ) -> Released? {
            for (index, item) in items.enumerated() where item.key == key {
                let isInTime = Self.isInTime(seenAt, item.seenAt)
                let fate: RequestTable.Release.Fate
                switch (item.kind, edge) {
                case (.remote, .sender): fate = isInTime ? .answeredThere : .unanswered
                case (.observedEnd, .observedEnd):
                    // The packets' clock was set forward, but the forwarder's still says early.
                    let isAhead =
                        !isInTime && seenAt - item.seenAt > 600_000_000
                        && now - item.heldAt <= .milliseconds(500)
                    fate = isInTime || isAhead ? .answeredHere : .leftToSender
                case (.local, .observedEnd) where isInTime && seenAt >= item.seenAt:
                    fate = .answeredThere
                case (.reset, .observedEnd) where isReset && seenAt <= item.seenAt:
                    fate = .resetSeenThere
                default: continue
                }
                items.remove(at: index)
                return Released(slot: item.slot, fate: fate)
            }
            return nil
        }

        mutating func takeExpired(now: MonotonicTime) -> Released? {
            guard let item = items.first, now - item.heldAt >= .milliseconds(600) else {
                return nil
            }
            items.removeFirst()
            let fate: RequestTable.Release.Fate =
                switch item.kind {
                case .remote: .unanswered
                case .local:
                    isAnswered(item.key, seenAt: item.seenAt) ? .answeredThere : .unanswered
                case .observedEnd: .leftToSender
                case .reset:
                    isResetSeen(item.key, seenAt: item.seenAt)
                        ? .resetSeenThere : .resetFromElsewhere
                }
            return Released(slot: item.slot, fate: fate)
        }
    }

    @Test("agree about random packets", arguments: 1...8 as ClosedRange<UInt64>)
    func agree(seed: UInt64) {
        var generator = RandomNumbers(seed)
        var (table, model) = (RequestTable(), Model())
        var nanoseconds: UInt64 = 5_000_000_000
        var releases: [RequestTable.Release.Fate: Int] = [:]
        for index in 0..<10_000 {
            nanoseconds += UInt64.random(in: 0...6_000_000, using: &generator)
            let now = MonotonicTime(nanoseconds: nanoseconds)
            // A packet is read some time after it has passed; a clock may be wrong for a moment.
            let isAhead = Int.random(in: 0..<20, using: &generator) == 0
            let seenAt =
                1_700_000_000_000_000_000 + nanoseconds + (isAhead ? 600_000_000_000 : 0)
                - UInt64.random(in: 0...20_000_000, using: &generator)
            let key = Self.key(with: &generator)
            let edge: RequestEdge = Bool.random(using: &generator) ? .sender : .observedEnd
            let isHere = Bool.random(using: &generator)
            let isReset = Bool.random(using: &generator)
            var expected: [Released] = []
            var found: [Released] = []
            switch Int.random(in: 0..<8, using: &generator) {
            case 0...3:
                let isAnswered =
                    edge == .sender && isHere && model.isAnswered(key, seenAt: seenAt)
                let holding = table.hold(
                    key, at: edge, isOtherEdgeHere: isHere, seenAt: seenAt, now: now)
                #expect((holding == .answered) == isAnswered, "\(index)")
                let kind: Model.Kind =
                    edge == .observedEnd ? .observedEnd : isHere ? .local : .remote
                model.add(holding, key, kind, seenAt, now)
            case 4:
                let isSeen = model.isResetSeen(key, seenAt: seenAt)
                let holding = table.holdReset(key, seenAt: seenAt, now: now)
                #expect((holding == .answered) == isSeen, "\(index)")
                model.add(holding, key, .reset, seenAt, now)
            case 5, 6:
                while let release = table.release(
                    answered: key, at: edge, isReset: isReset, seenAt: seenAt, now: now)
                {
                    found.append(Released(slot: release.slot, fate: release.fate))
                }
                while let release = model.release(
                    key, at: edge, isReset: isReset, seenAt: seenAt, now: now)
                {
                    expected.append(release)
                }
                guard edge == .observedEnd, isHere else { break }
                table.record(answerTo: key, isReset: isReset, seenAt: seenAt, now: now)
                model.answers[key, default: []].append((seenAt, isReset))
            default:
                while let release = table.takeExpired(now: now) {
                    found.append(Released(slot: release.slot, fate: release.fate))
                }
                while let release = model.takeExpired(now: now) { expected.append(release) }
            }
            for release in found { releases[release.fate, default: 0] += 1 }
            guard found == expected, table.count == model.items.count else {
                Issue.record("step \(index) of seed \(seed): \(found) instead of \(expected)")
                return
            }
        }
        for fate in RequestTable.Release.Fate.allCases {
            #expect(releases[fate, default: 0] > 0, "\(fate)")
        }
    }

    /// One of a few names, so that they meet often.
    private static func key(with generator: inout some RandomNumberGenerator) -> RequestKey {
        RequestKey(
            FlowKey(
                transport: 6, source: Site.a4, destination: Site.c4,
                sourcePort: UInt16.random(in: 1...40, using: &generator), destinationPort: 80))
    }
}

extension RequestTableModelTests.Model {
    fileprivate mutating func add(
        _ holding: RequestTable.Holding, _ key: RequestKey, _ kind: Kind, _ seenAt: UInt64,
        _ now: MonotonicTime
    ) {
        guard case .held(let slot) = holding else { return }
        items.append(Item(key: key, kind: kind, seenAt: seenAt, heldAt: now, slot: slot))
    }
}
