import Glibc

/// A pseudoterminal (pty(7)): what a program takes for a terminal, and what it has written there.
package final class PseudoTerminal {
    private let controller: CInt
    /// The side of the program.
    package let fileDescriptor: CInt

    /// The requests TIOCSPTLCK and TIOCGPTPEER (ioctl_tty(2)), which Swift does not import.
    private static let setLock: UInt = 0x4004_5431
    private static let openPeer: UInt = 0x5441

    /// Opens a terminal with a window of some size.
    package init(columns: UInt16, lines: UInt16) {
        controller = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK)
        var isLocked: CInt = 0
        let isUnlocked = unsafe ioctl(controller, Self.setLock, &isLocked) == 0
        precondition(controller >= 0 && isUnlocked)
        fileDescriptor = ioctl(controller, Self.openPeer, O_RDWR | O_NOCTTY)
        precondition(fileDescriptor >= 0)
        resize(columns: columns, lines: lines)
    }

    /// Gives the window another size.
    package func resize(columns: UInt16, lines: UInt16) {
        var size = winsize(ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        precondition(unsafe ioctl(controller, UInt(TIOCSWINSZ), &size) == 0)
    }

    /// Takes what the program has written since the last call, with a line feed for each line's end.
    package func takeOutput() -> String {
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = unsafe read(controller, &buffer, buffer.count)
            guard count > 0 else { break }
            output += buffer[..<count]
        }
        return String(decoding: output.filter { $0 != UInt8(ascii: "\r") }, as: UTF8.self)
    }

    deinit {
        close(fileDescriptor)
        close(controller)
    }
}
