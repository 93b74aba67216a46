import Linux
import Synchronization
import Time

/// The reply to a command, for the one thread that waits for it.
///
/// A reply that comes too late is dropped with this object.
final class Reply: Sendable {
    private let given: Event
    private let failure = Mutex<SystemError?>(nil)

    init() throws(SystemError) { given = try Event() }

    /// Gives the reply: nil for success.
    func give(_ failure: SystemError?) {
        self.failure.withLock { $0 = failure }
        given.raise()
    }

    /// Waits for the reply.
    ///
    /// - Parameters:
    ///   - deadline: When to stop waiting.
    ///   - ended: A descriptor that is readable when no reply will come.
    /// - Throws: The failure that was given, or `ETIMEDOUT` if there was no reply.
    func wait(until deadline: MonotonicTime, orFor ended: CInt) throws(SystemError) {
        let ready = try poll(
            [(given.fileDescriptor, .readable), (ended, .readable)], until: deadline)
        guard ready[0].contains(.readable) else {
            throw SystemError("wait for the capture", .timedOut)
        }
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}
