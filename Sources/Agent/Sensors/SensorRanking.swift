import Addressing
import Glibc
package import Settings

/// The order in which a node prefers sensors: a weighted rendezvous hash.
///
/// Each node ranks the sensors by a number that its own name and the sensor's name make. So the nodes
/// share the sensors by their weights, and none has to know of another. If one of k sensors goes, only
/// the nodes that it had move, and each of the others gets its part of them.
///
/// The source is Thaler and Ravishankar, A Name-Based Mapping Scheme for Rendezvous (1996); the weights
/// are those of Schindelhauer and Schomaker, Weighted Distributed Hash Tables (2005).
package enum SensorRanking {
    /// Ranks sensors.
    ///
    /// - Parameters:
    ///   - sensors: The sensors, each once. Their order has no influence.
    ///   - node: The name of the node.
    /// - Returns: The sensors, the one that the node prefers first.
    package static func ranking(_ sensors: [SensorName], for node: String) -> [SensorName] {
        let ranked = sensors.map { (sensor: $0, score: score($0, node)) }
        return ranked.sorted {
            // Equal numbers do not occur, but if they do, all nodes must agree on an order.
            $0.score != $1.score
                ? $0.score > $1.score : $0.sensor.description < $1.sensor.description
        }.map(\.sensor)
    }

    /// The score of a sensor: of all sensors it is the highest in proportion to the weight.
    private static func score(_ sensor: SensorName, _ node: String) -> Double {
        // Between 0 and 1, without both ends.
        let hash = StableHash.of(node, sensor.description)
        let part = (Double(hash >> 11) + 0.5) / Double(1 << 53 as UInt64)
        return -Double(sensor.weight) / log(part)
    }
}
