import Linux
import Log
import Logging
import RPCAP
import Security
import Time

/// The sessions with a peer before the one that begins.
struct SessionPast: Sendable {
    /// The gate for the session's lines, closed while they would repeat those of failures.
    let gate: LogGate
    /// The sessions that have failed.
    let failureCount: Int

    /// Sessions that have not failed.
    init() { (gate, failureCount) = (LogGate(isOpen: true), 0) }

    /// Sessions that a throttle knows of.
    init(_ lines: PeerLogThrottle) {
        (gate, failureCount) = (LogGate(isOpen: !lines.isFailing), lines.failureCount)
    }
}

/// The end of a session, and whether it is news or one more failure.
struct SessionEnd: Sendable {
    private let reason: String
    /// What the agent had refused before.
    private let refusal: ServerSession.Refusal?
    private let remedy: String?
    private let kind: Kind

    private enum Kind {
        case worked
        case failed
        /// Neither: the agent ended it, or the peer wanted no packets.
        case other
    }

    /// The end of a session that has worked, or that the agent ended.
    init(_ reason: String, hasWorked: Bool) {
        self.reason = reason
        (refusal, remedy, kind) = (nil, nil, hasWorked ? .worked : .other)
    }

    /// The end of a session that has not worked.
    init(
        _ reason: String, after refusal: ServerSession.Refusal?, isFailure: Bool,
        _ mode: ServerSession.Mode
    ) {
        self.reason = reason
        self.refusal = refusal.flatMap { $0.text == reason ? nil : $0 }
        remedy = SessionRemedy.text(for: reason, after: refusal, mode)
        kind = isFailure ? .failed : .other
    }

    /// The end of a session that could not begin, as with TLS.
    init(_ error: any Error, _ mode: ServerSession.Mode) {
        reason = "\(error)"
        refusal = nil
        remedy = (error as? TLSFailure).flatMap { SessionRemedy.text(for: $0, mode) }
        let isOurs = error is Eviction || (error as? SystemError)?.errno == .canceled
        kind = isOurs ? .other : .failed
    }

    /// The reason with what was refused before.
    var text: String { refusal.map { "\(reason), after \"\($0.text)\" was refused" } ?? reason }

    private var metadata: Logger.Metadata {
        var metadata: Logger.Metadata = ["reason": "\(reason)"]
        if let refusal {
            metadata["refusal"] = "\(refusal.text) (error \(refusal.code.rawValue))"
        }
        if let remedy { metadata["remedy"] = "\(remedy)" }
        return metadata
    }

    /// Logs the end of a session with a sensor: a failure is a warning, once and then now and then.
    func log(
        as message: Logger.Message, in lines: inout PeerLogThrottle, since begin: MonotonicTime,
        _ logger: Logger
    ) {
        switch kind {
        case .worked:
            _ = lines.recordSuccess()
            logger.info(message, metadata: metadata)
        case .other: logger.info(message, metadata: metadata)
        case .failed:
            warn(message, lines.recordFailure(text, since: begin, now: .now), logger)
        }
    }

    /// Logs the end of a session with a client in the same way.
    func log(
        as message: Logger.Message, of name: String, in lines: inout PeerLogTable,
        since begin: MonotonicTime, _ logger: Logger
    ) {
        switch kind {
        case .worked:
            _ = lines.recordSuccess(name)
            logger.info(message, metadata: metadata)
        case .other: logger.info(message, metadata: metadata)
        case .failed:
            let now = MonotonicTime.now
            let counts = lines.update(name, now: now) {
                $0.recordFailure(text, since: begin, now: now)
            }
            warn(message, counts, logger)
        }
    }

    private func warn(_ message: Logger.Message, _ counts: Logger.Metadata?, _ logger: Logger) {
        guard let counts else {
            return logger.debug(message, metadata: metadata)
        }
        logger.warning(message, metadata: counts.merging(metadata) { $1 })
    }
}
