import Edges
import Linux
package import Logging
package import Metrics
import Synchronization
import Time

/// The capture that the sessions of all sensors share.
///
/// Each further sensor costs its queue and what is sent to it, and no ring. Clients have captures of
/// their own: anybody's filter would take the time of all.
package final class CaptureHub: Sendable {
    private let shared = Mutex<Shared?>(nil)
    private let watchdog: Watchdog
    private let logger: Logger

    private struct Shared {
        let core: CaptureCore
        var sessionCount: Int
    }

    /// Creates a hub without captures.
    package init(_ watchdog: Watchdog = Watchdog(), logger: Logger) {
        (self.watchdog, self.logger) = (watchdog, logger)
    }

    /// Makes a session part of the capture of the whole node, which begins with the first session.
    ///
    /// Other sessions wait meanwhile, so that all come to share one.
    ///
    /// - Parameters:
    ///   - plan: What the session wants.
    ///   - outlet: The session's part.
    ///   - key: Its key.
    /// - Returns: The capture.
    /// - Throws: If there are edges and none can be captured.
    func join(
        _ plan: CapturePlan, _ outlet: sending Outlet, as key: UInt64
    ) throws(SystemError) -> CaptureCore {
        let outlet = TransferBox(outlet)
        return try shared.withLock { shared throws(SystemError) in
            if let core = shared?.core, core.isRunning {
                do throws(SystemError) {
                    try core.join(outlet, as: key)
                    shared?.sessionCount += 1
                    return core
                } catch {
                    // One that has just ended carries out no command.
                    guard !core.isRunning else { throw error }
                }
            }
            let core = try CaptureCore(
                plan, outlet, for: "all sensors", watchdog, logger: logger)
            shared = Shared(core: core, sessionCount: 1)
            return core
        }
    }

    /// Records that a session leaves a capture.
    ///
    /// - Returns: Whether others stay.
    func leave(_ core: CaptureCore) -> Bool {
        shared.withLock { shared in
            guard let sessions = shared, sessions.core === core else { return false }
            guard sessions.sessionCount > 1 else {
                shared = nil
                return false
            }
            shared?.sessionCount -= 1
            return true
        }
    }
}
