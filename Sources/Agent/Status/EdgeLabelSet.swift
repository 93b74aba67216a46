/// The edges that have series of their own.
///
/// An edge keeps its series for as long as it exists. One that found no room gets none until it is
/// gone: the counts of all others together must not go back.
package struct EdgeLabelSet {
    package private(set) var incarnations: Set<UInt64> = []
    /// Edges that found no room.
    private var others: Set<UInt64> = []

    /// The most edges with series of their own, which is more than a node has pods.
    ///
    /// Each edge has three series for each sensor.
    package static let countMax = 512

    package init() {}

    /// Forgets edges that are gone, and gives new ones a series while there is room.
    package mutating func update(_ present: Set<UInt64>) {
        incarnations.formIntersection(present)
        others.formIntersection(present)
        for incarnation in present.subtracting(incarnations).subtracting(others).sorted() {
            if incarnations.count < Self.countMax {
                incarnations.insert(incarnation)
            } else {
                others.insert(incarnation)
            }
        }
    }
}
