import Linux
import Synchronization

/// A name on its way to its addresses, on a thread of its own: a resolver may take half a minute,
/// and others are to be served meanwhile. Readable when it is done.
final class Resolution: Sendable {
    private let event: Event
    private let result = Mutex<Result<[SocketAddress], ResolveFailure>?>(nil)

    private init() throws(SystemError) { event = try Event() }

    /// Begins. The thread ends with the resolver's answer, which is bounded by its own time-outs,
    /// whether or not anybody still waits for it.
    static func begin(_ host: String, port: UInt16) throws(SystemError) -> Resolution {
        let resolution = try Resolution()
        try Thread {
            nameThread("podwire-resolve")
            do throws(ResolveFailure) {
                let addresses = try resolve(host, port: port)
                resolution.end(.success(addresses))
            } catch {
                resolution.end(.failure(error))
            }
        }.detach()
        return resolution
    }

    /// For a poll set.
    var number: CInt { event.fileDescriptor }

    /// What came of it; nil as long as nothing has.
    var answer: Result<[SocketAddress], ResolveFailure>? { result.withLock { $0 } }

    private func end(_ answer: Result<[SocketAddress], ResolveFailure>) {
        result.withLock { $0 = answer }
        event.raise()
    }
}
