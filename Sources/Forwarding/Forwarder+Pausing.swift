import Linux
import Time

/// Pauses between turns.
extension Forwarder {
    /// Lets blocks gather, if the turn that ends now leaves time for that; commands end the pause.
    ///
    /// - Parameter limit: The longest pause.
    /// - Returns: Whether there was a pause.
    /// - Throws: If the kernel refuses to wait.
    func pauseIfWorthwhile(within limit: Duration) throws(SendFailure) -> Bool {
        guard pacer.endTurn(edgeCount: edges.count, now: .now), phase == .running, !isBehind,
            pressure == nil, closing.isEmpty, !outlets.contains(where: { $0.sender.isBlocked })
        else { return false }
        try SendFailure.rethrowing { () throws(SystemError) in
            _ = try poll(
                [(commands.fileDescriptor, .readable)],
                milliseconds: min(TurnPacer.pause, limit).waitMilliseconds)
        }
        return true
    }
}
