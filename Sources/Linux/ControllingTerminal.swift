import Glibc

/// Whether the process may use the terminal that a descriptor is: false for one that was put into the
/// background, while another program uses it.
package func isForeground(_ fileDescriptor: CInt) -> Bool {
    let group = tcgetpgrp(fileDescriptor)
    // A process of another session is not in the terminal's background.
    return group < 0 || group == getpgrp()
}

/// The terminal that a program was started from, which may go away before the program ends.
package struct ControllingTerminal: Sendable {
    private let wasThere: Bool

    /// The terminal that there is now, if there is one.
    package init() { wasThere = Self.isThere }

    /// Whether there was one, and it is gone: its window was closed, or the connection to it lost.
    package var isGone: Bool { wasThere && !Self.isThere }

    /// Whether the session has a terminal (tty(4)).
    private static var isThere: Bool {
        let file = try? Descriptor("open /dev/tty") {
            unsafe open("/dev/tty", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        }
        return file != nil
    }
}
