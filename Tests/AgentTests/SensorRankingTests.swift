import Agent
import Settings
import Testing

@Suite("The order in which nodes prefer sensors")
struct SensorRankingTests {
    private static func sensors(_ texts: String...) throws -> [SensorName] {
        try texts.map { try #require(SensorName($0, standardPort: 2003)) }
    }

    private static let nodes = (0..<2000).map { "node-\($0).example" }

    /// How many nodes prefer each sensor, by its description.
    private static func shares(_ sensors: [SensorName]) -> [String: Int] {
        nodes.reduce(into: [:]) { shares, node in
            shares[SensorRanking.ranking(sensors, for: node)[0].description, default: 0] += 1
        }
    }

    @Test("is the same in each version, and does not depend on the order of the list")
    func stability() throws {
        let sensors = try Self.sensors("10.0.0.1", "10.0.0.2", "sensor.example:2004", "[fd00::1]")
        let expected = [
            "node1": [
                "[fd00::1]:2003", "sensor.example:2004", "10.0.0.2:2003", "10.0.0.1:2003",
            ],
            "node2": [
                "10.0.0.1:2003", "[fd00::1]:2003", "sensor.example:2004", "10.0.0.2:2003",
            ],
        ]
        for (node, ranking) in expected {
            #expect(SensorRanking.ranking(sensors, for: node).map(\.description) == ranking)
            #expect(
                SensorRanking.ranking(sensors.reversed(), for: node).map(\.description) == ranking)
        }
    }

    @Test("shares the nodes among the sensors by their weights")
    func balance() throws {
        // Five standard deviations of a binomial distribution.
        for (texts, weights) in [
            (["a", "b", "c", "d"], [1.0, 1, 1, 1]), (["a", "b*2", "c*5"], [1.0, 2, 5]),
        ] {
            let sensors = try texts.map { try #require(SensorName($0, standardPort: 2003)) }
            let shares = Self.shares(sensors)
            for (sensor, weight) in zip(sensors, weights) {
                let part = weight / weights.reduce(0, +)
                let mean = part * Double(Self.nodes.count)
                let deviation = (mean * (1 - part)).squareRoot()
                let count = Double(shares[sensor.description] ?? 0)
                #expect(abs(count - mean) < 5 * deviation, "\(sensor): \(count) of \(mean)")
            }
        }
    }

    @Test("moves only the nodes of a sensor that goes, and brings only these back")
    func leastMoves() throws {
        let sensors = try Self.sensors("a", "b", "c", "d*3")
        let gone = sensors[1]
        var heirs: Set<String> = []
        for node in Self.nodes {
            let before = SensorRanking.ranking(sensors, for: node)
            let after = SensorRanking.ranking(sensors.filter { $0 != gone }, for: node)
            #expect(after == before.filter { $0 != gone })
            if before[0] == gone { heirs.insert(after[0].description) }
        }
        #expect(heirs.count == 3)
    }

    @Test("moves nodes to a sensor only if its weight grows")
    func growth() throws {
        let before = try Self.sensors("a", "b", "c")
        let after = try Self.sensors("a", "b*2", "c")
        for node in Self.nodes {
            let (old, new) = (
                SensorRanking.ranking(before, for: node)[0].description,
                SensorRanking.ranking(after, for: node)[0].description
            )
            #expect(old == new || new == before[1].description)
        }
    }
}
