import Agent
import Forwarding
import Testing
import Time

@Suite("A handover between two agents of a node")
struct HandoverTests {
    /// Two agents, whose messages take their time, and packets of which each agent reads each after a while.
    private struct World {
        var older = Predecessor(revisionHash: 7)
        var newer: Successor?
        var olderBounds = ForwardingSpan.Bounds(begin: 0, end: .max)
        var newerBounds = ForwardingSpan.Bounds(begin: 0, end: .max)
        private(set) var milliseconds = 10_000
        private(set) var isCeded = false
        private(set) var isOlderStopped = false
        /// Messages with the time of their arrival.
        private var toOlder: [(at: Int, HandoverMessage?)] = []
        private var toNewer: [(at: Int, HandoverMessage?)] = []
        /// How often packets of a millisecond were forwarded.
        private(set) var counts: [Int: Int] = [:]
        var delay: () -> Int
        var readDelay = 150
        var servedCount = 0
        var olderServedCount = 2
        var isOlderAlive = true
        var isNewerAlive = false

        /// The wall clock, an hour ahead of the other one.
        private static let wallOffset: UInt64 = 3_600_000_000_000

        init(delay: @escaping () -> Int = { 1 }) { self.delay = delay }

        static func moment(_ milliseconds: Int) -> HandoverMoment {
            HandoverMoment(
                .zero + .milliseconds(milliseconds),
                wall: UInt64(milliseconds) * 1_000_000 + wallOffset)
        }

        private var now: HandoverMoment { Self.moment(milliseconds) }

        mutating func beginNewer() {
            newer = Successor(now: now.monotonic)
            isNewerAlive = true
            carryOutNewer(newer?.firstActions ?? [])
        }

        mutating func killNewer() {
            isNewerAlive = false
            toOlder.append((milliseconds + 1, nil))
        }

        mutating func killOlder() {
            isOlderAlive = false
            toNewer.append((milliseconds + 1, nil))
        }

        mutating func requestStop() { carryOutOlder(older.requestStop(at: now.monotonic)) }

        mutating func run(milliseconds count: Int) {
            for _ in 0..<count {
                milliseconds += 1
                let (old, new) = (take(from: &toOlder), take(from: &toNewer))
                if isOlderAlive { runOlder(old) }
                if isNewerAlive { runNewer(new) }
                forward()
            }
        }

        private func isDue(_ message: (at: Int, HandoverMessage?)) -> Bool {
            message.at <= milliseconds
        }

        private func take(
            from queue: inout [(at: Int, HandoverMessage?)]
        ) -> [HandoverMessage?] {
            // One is never before another that was sent earlier.
            let count = queue.firstIndex { !isDue($0) } ?? queue.count
            defer { queue.removeFirst(count) }
            return queue.prefix(count).map(\.1)
        }

        private mutating func runOlder(_ messages: [HandoverMessage?]) {
            for message in messages {
                carryOutOlder(
                    message.map { older.receive($0, at: now, servedCount: olderServedCount) }
                        ?? older.disconnect(at: now))
            }
            carryOutOlder(older.attend(at: now.monotonic))
        }

        private mutating func runNewer(_ messages: [HandoverMessage?]) {
            guard var successor = newer else { return }
            var actions: [HandoverAction] = []
            for message in messages {
                actions +=
                    message.map { successor.receive($0, at: now) } ?? successor.disconnect(at: now)
            }
            if milliseconds.isMultiple(of: 50) {
                actions += successor.attend(at: now, servedCount: servedCount, servedCountMax: 2)
            }
            newer = successor
            carryOutNewer(actions)
        }

        private mutating func carryOutOlder(_ actions: [HandoverAction]) {
            for action in actions {
                switch action {
                case .send(let message): toNewer.append((milliseconds + delay(), message))
                case .endForwarding(let wall):
                    olderBounds = .init(begin: olderBounds.begin, end: wall)
                case .cede: isCeded = true
                case .resume: isCeded = false
                case .stop: isOlderStopped = true
                case .beginForwarding(let wall):
                    olderBounds = .init(begin: wall, end: olderBounds.end)
                case .disconnect: Issue.record("\(action)")
                }
            }
        }

        private mutating func carryOutNewer(_ actions: [HandoverAction]) {
            for action in actions {
                switch action {
                case .send(let message): toOlder.append((milliseconds + delay(), message))
                case .beginForwarding(let wall): newerBounds = .init(begin: wall, end: .max)
                default: Issue.record("\(action)")
                }
            }
        }

        /// Both agents read what passed a while ago.
        private mutating func forward() {
            let passed = Self.moment(milliseconds - readDelay).wall
            var count = 0
            if isOlderAlive, !isCeded, !isOlderStopped, olderBounds.contains(passed) { count += 1 }
            if isNewerAlive, newerBounds.contains(passed) { count += 1 }
            counts[milliseconds - readDelay] = count
        }

        /// The milliseconds whose packets were not forwarded once.
        var faults: [Int: Int] { counts.filter { $0.value != 1 } }
    }

    @Test("has each packet forwarded once, however long messages take", arguments: 0..<50)
    func isExact(seed: Int) {
        var generator = SystemRandomNumberGenerator()
        let delayMax = [1, 20, 100, 400, 700][seed % 5]
        var world = World { Int.random(in: 1...delayMax, using: &generator) }
        world.run(milliseconds: 300)
        world.beginNewer()
        world.run(milliseconds: Int.random(in: 0...3000))
        world.servedCount = 2
        world.run(milliseconds: 60_000)
        guard case .over(.tookOver) = world.newer?.phase else {
            // Messages that take longer than there is time for them never agree, and nothing is lost.
            #expect(delayMax > 400 && world.older.phase != .ceded)
            return
        }
        #expect(world.older.phase == .ceded && world.isCeded)
        // Its probes are answered by the newer one, too.
        #expect(delayMax > 100 || world.newer?.olderRevisionHash == 7)
        // A late answer has the newer one take its proposal back after the older one has agreed.
        if delayMax <= 100 { #expect(world.faults.isEmpty, "\(world.faults)") }
    }

    @Test("waits for the sensors that the older one feeds, and after a while for one")
    func sensors() {
        var world = World()
        world.beginNewer()
        world.servedCount = 1
        world.run(milliseconds: 19_900)
        guard case .waiting = world.newer?.phase else {
            Issue.record("it does not wait")
            return
        }
        world.run(milliseconds: 5000)
        #expect(world.newer?.phase != nil && world.isCeded && world.faults.isEmpty)
    }

    @Test("never happens while the newer one reaches no sensor", arguments: [0, 2])
    func noSensor(olderServedCount: Int) {
        var world = World()
        world.olderServedCount = olderServedCount
        world.beginNewer()
        world.run(milliseconds: 300_000)
        #expect(world.older.phase == .accompanied && world.faults.isEmpty)
    }

    @Test(
        "is undone if the newer one goes away", arguments: [10, 100, 500, 1200, 1300, 2000, 3000])
    func newerGone(after milliseconds: Int) {
        var world = World()
        world.run(milliseconds: 300)
        world.servedCount = 2
        world.beginNewer()
        world.run(milliseconds: milliseconds)
        world.killNewer()
        world.run(milliseconds: 5000)
        #expect(world.older.phase == .alone && !world.isCeded)
        #expect(world.olderBounds.contains(World.moment(20_000).wall))
        #expect(world.faults.allSatisfy { $0.value == 0 }, "a packet was forwarded twice")
        // Before the moment nothing is lost; after it what only the newer one had read, or was to read.
        if milliseconds <= 1200 { #expect(world.faults.isEmpty, "\(world.faults)") }
    }

    @Test("is finished at once if the older one goes away", arguments: [10, 100, 500, 1300, 2000])
    func olderGone(after milliseconds: Int) {
        var world = World()
        world.run(milliseconds: 300)
        world.servedCount = 2
        world.beginNewer()
        world.run(milliseconds: milliseconds)
        world.killOlder()
        world.run(milliseconds: 5000)
        guard case .over = world.newer?.phase else {
            Issue.record("it still waits")
            return
        }
        #expect(world.newerBounds.contains(World.moment(20_000).wall))
        #expect(world.faults.allSatisfy { $0.value == 0 }, "a packet was forwarded twice")
    }

    @Test("is given up after many refusals, and the newer one forwards")
    func refusals() {
        var newer = Successor(now: World.moment(10_000).monotonic)
        _ = newer.receive(HandoverMessage(.welcome, 1), at: World.moment(10_000))
        var proposalCount = 0
        var last: [HandoverAction] = []
        for milliseconds in stride(from: 10_000, to: 200_000, by: 50) {
            let now = World.moment(milliseconds)
            for action in newer.attend(at: now, servedCount: 1, servedCountMax: 1) {
                guard case .send(let message) = action, message.kind == .propose else { continue }
                proposalCount += 1
                last = newer.receive(HandoverMessage(.refuse, message.value), at: now)
            }
        }
        #expect(proposalCount == HandoverTimes.withdrawalCountMax)
        guard case .over(.refused) = newer.phase else {
            Issue.record("it still asks")
            return
        }
        guard case .beginForwarding(let begin) = last.first else {
            Issue.record("it does not forward")
            return
        }
        #expect(begin < World.moment(200_000).wall)
    }

    @Test("has one that forwards go on until the other one answers, and give way then")
    func givesWay() {
        let now = World.moment(10_000)
        var newer = Successor(now: now.monotonic, isForwarding: true)
        #expect(newer.firstActions == [.send(HandoverMessage(.hello))])
        #expect(
            newer.receive(HandoverMessage(.welcome, 1), at: now) == [.beginForwarding(at: .max)])
        newer = Successor(now: now.monotonic, isForwarding: true)
        #expect(newer.attend(at: World.moment(21_000), servedCount: 1, servedCountMax: 1) == [])
        #expect(newer.phase == .over(.notHeard))
    }

    @Test("keeps an older one from stopping for a while")
    func stop() {
        var world = World()
        world.requestStop()
        #expect(world.isOlderStopped, "there is nobody to wait for")
        world = World()
        world.beginNewer()
        world.run(milliseconds: 100)
        world.requestStop()
        world.run(milliseconds: 1000)
        #expect(!world.isOlderStopped)
        world.servedCount = 2
        world.run(milliseconds: 3000)
        #expect(world.isOlderStopped && world.isCeded)
        world = World()
        world.beginNewer()
        world.run(milliseconds: 100)
        world.requestStop()
        world.run(milliseconds: 4100)
        #expect(world.isOlderStopped && !world.isCeded, "the newer one is not ready")
    }

    @Test("ends a connection over which something else is said")
    func protocolFaults() {
        let now = World.moment(10_000)
        for kind in HandoverMessage.Kind.allCases where kind != .hello {
            var older = Predecessor()
            let actions = older.receive(HandoverMessage(kind, 1), at: now, servedCount: 1)
            #expect(actions == [.disconnect], "\(kind)")
        }
        for kind in HandoverMessage.Kind.allCases where kind != .welcome {
            var newer = Successor(now: now.monotonic)
            #expect(newer.receive(HandoverMessage(kind, 1), at: now) == [.disconnect], "\(kind)")
        }
    }

    @Test("has messages that are read as they were written")
    func messages() {
        for kind in HandoverMessage.Kind.allCases {
            for value in [0, 1, .max, 1_700_000_000_000_000_000] as [UInt64] {
                let message = HandoverMessage(kind, value)
                #expect(HandoverMessage(message.bytes) == message)
                for index in 0..<8 {
                    var bytes = message.bytes
                    bytes[index] ^= 0x80
                    #expect(HandoverMessage(bytes) == nil)
                }
            }
        }
        for count in [0, 1, 15, 17, 256] {
            #expect(HandoverMessage([UInt8](repeating: 0x50, count: count)) == nil)
        }
    }
}
