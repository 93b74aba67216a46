package import Linux
import Synchronization
import Time

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
        /// To take away what is shown, since the window's size changes.
        package static let hold = Self(rawValue: 8)
        /// To draw what is shown anew, since the window's size has changed.
        package static let redraw = Self(rawValue: 16)
        /// To leave what is shown on the terminal, and to say so to `leaveTerminal`.
        package static let leave = Self(rawValue: 32)
    }

    private let event: Event
    /// Raised when the terminal is left to others.
    private let left: Event
    private let pending = Atomic<UInt8>(0)

    /// Nothing is asked yet.
    package init() throws(SystemError) {
        event = try Event()
        left = try Event()
    }

    /// The descriptor, for a poll set: readable while something is asked.
    var fileDescriptor: CInt { event.fileDescriptor }

    /// Asks for something.
    package func ask(for kind: Kind) {
        pending.bitwiseOr(kind.rawValue, ordering: .releasing)
        event.raise()
    }

    /// Has what is shown stay on the terminal, and waits until it does, or a collector is too busy.
    package func leaveTerminal() {
        // A collector that was too busy may have said so later.
        left.lower()
        ask(for: .leave)
        _ = try? poll([(left.fileDescriptor, .readable)], until: .now + Self.leaveTimeMax)
    }

    /// Says that nothing more is drawn until that is asked for.
    func confirmLeave() { left.raise() }

    /// The longest time that a program is not stopped for what it shows.
    private static let leaveTimeMax = Duration.seconds(1)

    /// Takes what is asked.
    func take() -> Kind {
        event.lower()
        return Kind(rawValue: pending.exchange(0, ordering: .acquiring))
    }
}
