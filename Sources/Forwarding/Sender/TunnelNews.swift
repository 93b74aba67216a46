package import Addressing
package import Linux
import Synchronization

/// What a tunnel's sending thread has to tell the thread that keeps the tunnel.
///
/// The sending thread writes no log and asks nobody, so it leaves a note. Notes are rare: a lock is
/// taken for each of them.
package final class TunnelNews: Sendable {
    /// Raised when there is something new since the last `take`.
    package let event: Event
    private let notes = Mutex(Notes())

    /// What has happened.
    package struct Notes: Sendable {
        /// The last error that the network has sent back.
        package var refusal: Errno?
        /// The last reason for which the kernel has not taken a packet.
        package var loss: Errno?
        /// The addresses at which the tunnel's own datagrams were seen by an edge.
        package var echoes: Set<IPAddress> = []

        /// The most addresses: more than a sensor's name may have.
        fileprivate static let echoCountMax = 16

        fileprivate var isEmpty: Bool { refusal == nil && loss == nil && echoes.isEmpty }
    }

    /// Creates news without a note.
    package init() throws(SystemError) { event = try Event() }

    /// Takes what has been noted since the last time, and lowers the event.
    package func take() -> Notes {
        event.lower()
        return notes.withLock { notes in
            defer { notes = Notes() }
            return notes
        }
    }

    /// Notes an error that the network has sent back.
    func note(refusal: Errno) { change { $0.refusal = refusal } }

    /// Notes that the kernel has not taken a packet.
    func note(loss: Errno) { change { $0.loss = loss } }

    /// Notes where the tunnel's own datagrams go, as an edge has seen.
    func note(echoAt address: IPAddress) {
        change { if $0.echoes.count < Notes.echoCountMax { $0.echoes.insert(address) } }
    }

    private func change(_ body: (inout Notes) -> Void) {
        let isFirst = notes.withLock { notes in
            defer { body(&notes) }
            return notes.isEmpty
        }
        if isFirst { event.raise() }
    }
}
