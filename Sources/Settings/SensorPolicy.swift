/// The sensors that a node feeds, of those that are given.
package enum SensorPolicy: String, CaseIterable, Sendable {
    /// Each sensor gets all packets.
    case all
    /// One sensor gets all packets: each node chooses one, so that the nodes share the sensors.
    case one
}
