/// Something that the log should say: a file was read again, or could not be.
package struct Notice: Equatable, Sendable, CustomStringConvertible {
    package let text: String
    /// Whether somebody has to do something about it.
    package let isWarning: Bool

    package var description: String { text }

    static func warning(_ text: String) -> Self { Self(text: text, isWarning: true) }
    static func information(_ text: String) -> Self { Self(text: text, isWarning: false) }
}

/// The notices that nobody has taken yet. Of more than a few, the oldest go.
struct Notices {
    private var waiting: [Notice] = []

    private static let countMax = 8

    mutating func add(_ notice: Notice) {
        if waiting.count == Self.countMax { waiting.removeFirst() }
        waiting.append(notice)
    }

    mutating func take() -> [Notice] {
        defer { waiting = [] }
        return waiting
    }
}
