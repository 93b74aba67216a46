package import Logging
import Synchronization

/// A log handler behind a gate, for the lines of a session that may be one more failure.
///
/// While the gate is closed only errors pass. Who asks for `debug` or `trace` gets all lines.
package struct GatedLogHandler: LayeredLogHandler {
    package var base: any LogHandler
    private let gate: LogGate

    /// A logger behind a gate; copies of it share the gate.
    package static func gating(_ logger: Logger, _ gate: LogGate) -> Logger {
        var logger = logger
        logger.handler = Self(base: logger.handler, gate: gate)
        return logger
    }

    /// Passes on an event if the gate is open.
    package func log(event: LogEvent) {
        guard gate.isOpen || event.level >= .error || logLevel <= .debug else { return }
        base.log(event: event)
    }
}

/// A gate for lines of a log.
package final class LogGate: Sendable {
    private let isOpenNow: Atomic<Bool>

    package init(isOpen: Bool) { isOpenNow = Atomic(isOpen) }

    package var isOpen: Bool { isOpenNow.load(ordering: .relaxed) }

    package func open() { isOpenNow.store(true, ordering: .relaxed) }
}
