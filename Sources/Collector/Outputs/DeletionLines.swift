import Linux
import Log
import Logging
import Time

/// The throttles of lines about the deletion of files, which a full disk causes again and again.
struct DeletionLines {
    private var early = FailureLogThrottle()
    private var failed = FailureLogThrottle()

    /// Records that a file was deleted before its time, since the disk is full.
    ///
    /// - Returns: The line to log; nil if none should be.
    mutating func early(
        _ path: String, _ error: SystemError, now: MonotonicTime
    ) -> OutputNews? {
        guard var values = early.recordFailure(error.reason, now: now) else { return nil }
        values["files"] = values.removeValue(forKey: "failures")
        values["path"] = "\(path)"
        values["reason"] = "\(error)"
        values["remedy"] = "make room, or have --keep and --rotate-size need less"
        return OutputNews("file deleted early", values, isWarning: true)
    }

    /// Records that a file could not be deleted.
    ///
    /// - Returns: Whether that should be logged.
    mutating func recordFailure(_ error: SystemError, now: MonotonicTime) -> Bool {
        failed.recordFailure(error.reason, now: now) != nil
    }
}
