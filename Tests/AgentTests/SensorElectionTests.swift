import Agent
import Testing
import Time

@Suite("The choice of the one sensor that a node feeds")
struct SensorElectionTests {
    /// Sensors as a dialer would find them, one look a second.
    private struct World {
        /// What a sensor does with who dials it.
        enum Sensor {
            case captures, opensNoCapture, refuses
            /// Its connections are open, and nobody reads them.
            case hangs
        }

        var election: SensorElection
        var sensors: [Sensor]
        private(set) var orders: [SensorElection.Order]
        private(set) var sights: [SensorElection.Sight]
        private(set) var seconds = 1000
        /// The sensors that were fed in each second, several during a move.
        private(set) var history: [[Int]] = []

        init(_ sensors: [Sensor], jitter: Double = 0) {
            self.sensors = sensors
            election = SensorElection(count: sensors.count, jitter: jitter)
            orders = sensors.map { _ in .rest }
            sights = sensors.map { _ in SensorElection.Sight() }
        }

        mutating func run(seconds count: Int) {
            for _ in 0..<count {
                seconds += 1
                for rank in sensors.indices { dial(rank) }
                orders = election.decide(sights, now: .zero + .seconds(seconds))
                history.append(sights.indices.filter { sights[$0].isFed })
            }
        }

        private mutating func dial(_ rank: Int) {
            let order = orders[rank]
            if order == .serve, sensors[rank] == .refuses { sights[rank].failureCount += 1 }
            // A program that hangs lets nobody begin; who was fed stays, and is stalled.
            let wasFed = sights[rank].isFed || sights[rank].isStalled
            sights[rank].isFed = order == .serve && sensors[rank] == .captures
            sights[rank].isStalled = order == .serve && sensors[rank] == .hangs && wasFed
            sights[rank].isPresent = order == .probe && sensors[rank] != .refuses
        }

        var fed: [Int] { history.last ?? [] }

        /// The sensors that the node misses while it does not feed them.
        var wanted: [Int] { sensors.indices.filter(election.isWanted) }
    }

    @Test("feeds the preferred sensor, and leaves the others alone")
    func preferred() {
        var world = World([.captures, .captures, .captures])
        world.run(seconds: 200)
        #expect(world.fed == [0])
        #expect(world.orders == [.serve, .rest, .rest])
        #expect(world.history.dropFirst(2).allSatisfy { $0 == [0] })
    }

    @Test(
        "misses all sensors while none is fed, and then those that are preferred to the one that is"
    )
    func wanted() {
        for (sensors, seconds, wanted) in [
            ([World.Sensor.captures, .captures, .captures], 0, [0, 1, 2]),
            ([.captures, .captures, .captures], 20, [0]),
            ([.refuses, .captures, .captures], 20, [0, 1]),
            ([.refuses, .refuses, .refuses], 20, [0, 1, 2]),
        ] {
            var world = World(sensors)
            world.run(seconds: seconds)
            #expect(world.wanted == wanted, "\(sensors)")
        }
        // It is missed all the time, or an alert that waits would never come.
        var world = World([.captures, .captures])
        world.run(seconds: 20)
        world.sensors[0] = .refuses
        for _ in 0..<600 {
            world.run(seconds: 1)
            #expect(world.wanted.contains(0))
        }
        world.sensors[0] = .captures
        world.run(seconds: 80)
        #expect(world.wanted == [0])
    }

    @Test("feeds the next sensor within seconds of a refusal")
    func refusal() {
        var world = World([.refuses, .refuses, .captures])
        world.run(seconds: 8)
        #expect(world.fed == [2])
        #expect(world.orders == [.probe, .probe, .serve])
    }

    @Test("moves on when its sensor goes, and comes back when it has been there for a minute")
    func goneAndBack() {
        var world = World([.captures, .captures])
        world.run(seconds: 20)
        world.sensors[0] = .refuses
        world.run(seconds: 6)
        #expect(world.fed == [1])
        world.run(seconds: 100)
        #expect(world.fed == [1])
        world.sensors[0] = .captures
        world.run(seconds: 59)
        #expect(world.fed == [1])
        world.run(seconds: 6)
        #expect(world.fed == [0])
        #expect(world.orders == [.serve, .rest])
        // On the way back there is always one that is fed.
        #expect(world.history.suffix(140).allSatisfy { !$0.isEmpty })
        #expect(world.history.contains([0, 1]))
    }

    @Test("dials a sensor again whose connection has broken before it moves on")
    func brokenConnection() {
        var world = World([.captures, .captures])
        world.run(seconds: 100)
        world.sensors[0] = .opensNoCapture
        world.run(seconds: 3)
        world.sensors[0] = .captures
        world.run(seconds: 2)
        #expect(world.fed == [0])
        #expect(world.history.allSatisfy { !$0.contains(1) })
    }

    @Test("tries the next one, too, when a sensor opens no capture, and leaves it after a minute")
    func noCapture() {
        var world = World([.opensNoCapture, .opensNoCapture, .captures])
        world.run(seconds: 5)
        #expect(world.orders == [.serve, .rest, .rest])
        world.run(seconds: 4)
        #expect(world.orders == [.serve, .serve, .rest])
        world.run(seconds: 5)
        #expect(world.fed == [2])
        #expect(world.orders == [.probe, .probe, .serve])
        var alone = World([.opensNoCapture])
        alone.run(seconds: 61)
        #expect(alone.orders == [.rest])
        alone.run(seconds: 2)
        #expect(alone.orders == [.serve])
    }

    @Test("stays with the better one if two that are tried open captures at once")
    func twoAtOnce() {
        var world = World([.opensNoCapture, .opensNoCapture])
        world.run(seconds: 10)
        #expect(world.orders == [.serve, .serve])
        world.sensors = [.captures, .captures]
        world.run(seconds: 2)
        #expect(world.fed == [0])
        #expect(world.orders == [.serve, .rest])
    }

    @Test(
        "tries one that is there and of no use ever more seldom, and stays with the other meanwhile"
    )
    func useless() {
        var world = World([.opensNoCapture, .captures])
        world.run(seconds: 70)
        var trials: [Int] = []
        var wasTried = false
        for _ in 0..<3600 {
            world.run(seconds: 1)
            let isTried = world.orders[0] == .serve
            if isTried, !wasTried { trials.append(world.seconds) }
            wasTried = isTried
            #expect(world.fed == [1])
        }
        #expect(trials.count == 5)
        let pauses = zip(trials.dropFirst(), trials).map { $0 - $1 }
        #expect(pauses == pauses.sorted() && pauses.last ?? 0 > 900)
    }

    @Test("leaves a sensor at once that takes nothing")
    func stall() {
        var world = World([.captures, .captures])
        world.run(seconds: 100)
        world.sensors[0] = .hangs
        world.run(seconds: 4)
        #expect(world.fed == [1])
        world.run(seconds: 600)
        #expect(world.fed == [1])
        world.sensors[0] = .captures
        world.run(seconds: 1300)
        #expect(world.fed == [0])
    }

    @Test("does not go back and forth with a sensor that captures for moments")
    func flapping() {
        var world = World([.captures, .captures])
        world.run(seconds: 100)
        var (moveCount, fedSeconds, goneSeconds) = (0, 0, 0)
        for _ in 0..<7200 {
            let before = world.fed
            fedSeconds = before.contains(0) ? fedSeconds + 1 : 0
            // It ends after three seconds, and is there again in another five.
            if fedSeconds == 3 { goneSeconds = 5 }
            world.sensors[0] = goneSeconds > 0 ? .refuses : .captures
            goneSeconds -= 1
            world.run(seconds: 1)
            if before == [1], world.fed.contains(0) { moveCount += 1 }
        }
        #expect((1...8).contains(moveCount))
    }

    @Test("goes on trying when all are gone, with pauses, and takes the first that is back")
    func allGone() {
        var world = World([.captures, .captures, .captures])
        world.run(seconds: 10)
        world.sensors = [.refuses, .refuses, .refuses]
        world.run(seconds: 600)
        let failures = world.sights.map(\.failureCount)
        #expect(failures.allSatisfy { (10...120).contains($0) }, "\(failures)")
        world.sensors[2] = .captures
        world.run(seconds: 40)
        #expect(world.fed == [2])
    }

    @Test("comes back at a time that differs from node to node")
    func jitter() {
        let times = [0.0, 0.5, 1].map { jitter in
            var world = World([.refuses, .captures], jitter: jitter)
            world.run(seconds: 10)
            world.sensors[0] = .captures
            let begin = world.seconds
            while !world.fed.contains(0), world.seconds < begin + 200 { world.run(seconds: 1) }
            return world.seconds - begin
        }
        #expect(times == times.sorted() && Set(times).count == 3)
        #expect(times[0] >= 60 && times[2] <= 80)
    }

    @Test("finds a sensor stalled only if packets wait, and none is sent for long")
    func stallWatch() {
        var watch = StallWatch()
        var now = MonotonicTime.zero + .seconds(100)
        /// Whether it is stalled after some seconds with these counts.
        func look(_ queued: UInt64, _ sent: UInt64, after seconds: Int) -> Bool {
            now = now + .seconds(seconds)
            return watch.look(queuedCount: queued, sentCount: sent, now: now)
        }
        #expect(!look(0, 0, after: 0))
        // Nothing waits.
        #expect(!look(5, 5, after: 1000))
        // Something waits, and moves now and then.
        #expect(!look(90, 5, after: 19))
        #expect(!look(99, 6, after: 1))
        #expect(!look(99, 6, after: 19))
        #expect(look(120, 6, after: 1))
        #expect(look(120, 6, after: 1))
        #expect(!look(120, 7, after: 1))
    }
}
