/// How long to wait before the next try: a second at first, then twice as long each time, half a
/// minute at most, and never quite the same, or all nodes of a cluster would come at once.
struct Backoff {
    private var seconds = Self.secondsMin

    static let secondsMin = 1.0
    static let secondsMax = 30.0
    /// A try waits for at least this share of its time.
    static let jitterMin = 0.5

    /// Milliseconds to wait now.
    mutating func next(with generator: inout some RandomNumberGenerator) -> Int {
        let wait = seconds * Double.random(in: Self.jitterMin...1, using: &generator)
        seconds = min(seconds * 2, Self.secondsMax)
        return Int(wait * 1000)
    }

    /// The peer was there: the next failure is a new one.
    mutating func reset() { seconds = Self.secondsMin }
}
