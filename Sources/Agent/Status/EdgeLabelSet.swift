/// Which edges have series of their own. One that has keeps them for as long as it is there, and one
/// that found no room has none until it is gone: what is said of all others together must not go back.
package struct EdgeLabelSet {
    package private(set) var incarnations: Set<UInt64> = []
    /// Those that found no room.
    private var others: Set<UInt64> = []

    /// More than a node has pods. Each edge has three series for each sensor.
    package static let countMax = 512

    package init() {}

    /// Takes note of which edges there are.
    package mutating func update(_ present: Set<UInt64>) {
        incarnations.formIntersection(present)
        others.formIntersection(present)
        for incarnation in present.subtracting(incarnations).subtracting(others).sorted() {
            if incarnations.count < Self.countMax { incarnations.insert(incarnation) } else { others.insert(incarnation) }
        }
    }
}
