/// The result of reading a changed file again, for the log.
package struct ReloadEvent: Equatable, Sendable, CustomStringConvertible {
    /// What happened, and to which file.
    package let text: String
    /// Whether somebody has to do something about it.
    package let isWarning: Bool

    /// The text.
    package var description: String { text }

    static func warning(_ text: String) -> Self { Self(text: text, isWarning: true) }
    static func information(_ text: String) -> Self { Self(text: text, isWarning: false) }
}

/// The reload events that nobody has taken yet; the oldest are dropped beyond a few.
struct ReloadEvents {
    private var waiting: [ReloadEvent] = []

    /// The most events that wait: more than both files cause between two looks.
    private static let countMax = 8

    mutating func add(_ event: ReloadEvent) {
        if waiting.count == Self.countMax { waiting.removeFirst() }
        waiting.append(event)
    }

    mutating func takeAll() -> [ReloadEvent] {
        defer { waiting = [] }
        return waiting
    }
}
