package import Linux
import Synchronization

/// What other threads ask of a collector while it runs.
package final class CollectorRequests: Sendable {
    /// What is asked, in a set since several may be asked before the collector looks.
    package struct Kind: OptionSet, Sendable {
        package let rawValue: UInt8

        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// To end captures, complete the outputs, and return.
        package static let stop = Self(rawValue: 1)
        /// To complete the files that have packets, and begin new ones.
        package static let newFile = Self(rawValue: 2)
        /// To show the numbers so far.
        package static let numbers = Self(rawValue: 4)
        /// To draw what is shown anew, since the window's size has changed.
        package static let redraw = Self(rawValue: 8)
    }

    private let event: Event
    private let pending = Atomic<UInt8>(0)

    /// Nothing is asked yet.
    package init() throws(SystemError) { event = try Event() }

    /// The descriptor, for a poll set: readable while something is asked.
    var fileDescriptor: CInt { event.fileDescriptor }

    /// Asks for something.
    package func ask(for kind: Kind) {
        pending.bitwiseOr(kind.rawValue, ordering: .releasing)
        event.raise()
    }

    /// Takes what is asked.
    func take() -> Kind {
        event.lower()
        return Kind(rawValue: pending.exchange(0, ordering: .acquiring))
    }
}
