import Linux
import PacketRing
import Time

/// Pauses between turns.
extension Forwarder {
    /// Lets blocks gather, if the turn that ends now leaves time for that; commands end the pause.
    ///
    /// - Parameter limit: The longest pause.
    /// - Returns: Whether a command has ended the pause; nil if there was none.
    /// - Throws: If the kernel refuses to wait.
    func pauseIfWorthwhile(within limit: Duration) throws(SendFailure) -> Bool? {
        guard pacer.endTurn(edgeCount: edges.count, now: .now), phase == .running, !isBehind,
            pressure == nil, closing.isEmpty, !outlets.contains(where: { $0.sender.isBlocked })
        else { return nil }
        return try SendFailure.rethrowing { () throws(SystemError) in
            let ready = try poll(
                [(commands.fileDescriptor, .readable)],
                milliseconds: min(pause, limit).waitMilliseconds)
            return ready[0].contains(.readable)
        }
    }

    /// Takes over how long a pause may be with the rings that there are now.
    func noteRings() {
        let smallest = edges.values.lazy.map(\.shape.byteCount).min() ?? 0
        pause = TurnPacer.pause(smallestRing: smallest)
    }

    /// Looks at each ring, and forwards what it holds.
    ///
    /// The poller would look at each ring that has something, in the kernel and once more afterwards,
    /// which costs more than to look at all of them here.
    func lookAndDrain() throws(SendFailure) {
        let begin = MonotonicTime.now
        isBehind = false
        write { $0.attend(into: &$1, now: begin) }
        for edge in edges.values where edge.hasBlock {
            try drain(edge, byteCountMax: byteCountPerTurn)
        }
        try drain(key: Key.sharedRing, byteCountPerTurn)
        try endTurn(begin)
    }
}
