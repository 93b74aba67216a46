package import Observation

/// Where a capture looks: an edge by its name, and what the rule needs to know of it.
package struct Place: Equatable, Sendable {
    /// Which life of the interface this is; names and indexes are used again.
    package let life: UInt64
    package let name: String
    package let point: ObservationPoint

    package init(life: UInt64, name: String, point: ObservationPoint) {
        (self.life, self.name, self.point) = (life, name, point)
    }
}
