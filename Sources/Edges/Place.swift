package import Observation

/// Where a capture looks: an edge by its name, and what the rule needs to know of it.
package struct Place: Equatable, Sendable {
    /// Which life of the interface this is; names and indexes are used again.
    package let life: UInt64
    package let name: String
    /// A ring cannot be opened on an interface that is down; one that is open stays when it goes
    /// down.
    package let isUp: Bool
    package let point: ObservationPoint

    package init(life: UInt64, name: String, isUp: Bool, point: ObservationPoint) {
        self.life = life
        self.name = name
        self.isUp = isUp
        self.point = point
    }
}
