import Linux
import Synchronization
import Time

/// The reply to a command, for the one thread that waits for it.
///
/// A reply that comes too late is dropped with this object.
final class Reply: Sendable {
    private let arrival: Arrival
    /// Nil until the reply is given.
    private let result = Mutex<Result<Void, SystemError>?>(nil)

    /// The event that is raised for each reply to a thread.
    ///
    /// It is opened once, so that waiting needs no descriptor when there are none left.
    final class Arrival: Sendable {
        fileprivate let event: Event

        init() throws(SystemError) { event = try Event() }
    }

    init(_ arrival: Arrival) { self.arrival = arrival }

    /// Gives the reply: nil for success.
    func give(_ failure: SystemError?) {
        result.withLock { $0 = failure.map { .failure($0) } ?? .success(()) }
        arrival.event.raise()
    }

    /// Waits for the reply.
    ///
    /// - Parameters:
    ///   - deadline: When to stop waiting.
    ///   - ended: A descriptor that is readable when no reply will come.
    /// - Throws: The failure that was given, or `ETIMEDOUT` if there was no reply.
    func wait(until deadline: MonotonicTime, orFor ended: CInt) throws(SystemError) {
        while true {
            // Lowered first: a reply that comes in between is seen now, or raises it again. An earlier
            // reply that comes too late raises it as well.
            arrival.event.lower()
            if let result = result.withLock({ $0 }) { return try result.get() }
            let ready = try poll(
                [(arrival.event.fileDescriptor, .readable), (ended, .readable)], until: deadline)
            guard ready[0].contains(.readable) else {
                throw SystemError("wait for the capture", .timedOut)
            }
        }
    }
}
