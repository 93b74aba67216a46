package import Observation

/// Where a capture looks: an edge by its name, and what the rule needs to know of it.
package struct Edge: Equatable, Sendable {
    /// Which incarnation of the interface this is; names and indexes are used again.
    package let incarnation: UInt64
    package let name: String
    /// A ring cannot be opened on an interface that is down; one that is open stays when it goes
    /// down.
    package let isUp: Bool
    package let point: ObservationPoint

    package init(incarnation: UInt64, name: String, isUp: Bool, point: ObservationPoint) {
        self.incarnation = incarnation
        self.name = name
        self.isUp = isUp
        self.point = point
    }
}
