package import Observation

import Capture

/// Where a capture looks: an edge by its name, and what the rule needs to know of it.
package struct Place: Equatable, Sendable {
    package let name: String
    package let point: ObservationPoint

    package init(name: String, point: ObservationPoint) {
        (self.name, self.point) = (name, point)
    }
}

/// A place and the ring that is open there. It belongs to the forwarder's thread.
final class Tap {
    let place: Place
    var ring: Ring
    var program: EdgeProgram

    init(_ place: Place, _ ring: consuming Ring, _ program: EdgeProgram) {
        self.place = place
        self.ring = ring
        self.program = program
    }
}
