package import Time

/// A watch for a sensor that takes nothing, though its connections are open.
///
/// A program that is suspended, or that hangs, leaves its connections to the kernel, which answers. What
/// it no longer reads shows in the send queue: packets wait, and none is sent.
package struct StallWatch {
    private var sentCount: UInt64 = 0
    private var movedAt: MonotonicTime?

    /// The time in which something has to be sent if something waits.
    ///
    /// A sensor that writes to a slow disk pauses for some seconds, and goes on.
    package static let timeMax = Duration.seconds(20)

    /// Creates a watch that has seen nothing.
    package init() {}

    /// Looks at the counts of the captures of a sensor.
    ///
    /// - Parameters:
    ///   - queuedCount: Packets that were put into the send queue.
    ///   - sentCount: Packets of these that the socket has taken.
    ///   - now: The time.
    /// - Returns: Whether nothing has been sent for too long, though something waits.
    package mutating func look(
        queuedCount: UInt64, sentCount: UInt64, now: MonotonicTime
    ) -> Bool {
        if sentCount != self.sentCount || sentCount >= queuedCount || movedAt == nil {
            self.sentCount = sentCount
            movedAt = now
        }
        return now - (movedAt ?? now) >= Self.timeMax
    }
}
