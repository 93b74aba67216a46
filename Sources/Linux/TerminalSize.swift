import Glibc

/// Returns the number of columns of a terminal (ioctl_tty(2)).
///
/// - Returns: Nil if the descriptor is no terminal, or the terminal does not say.
package func terminalWidth(_ fileDescriptor: CInt) -> Int? {
    terminalSize(fileDescriptor).flatMap { $0.columns > 0 ? $0.columns : nil }
}

/// Returns the number of lines of a terminal, as `terminalWidth` does that of columns.
package func terminalHeight(_ fileDescriptor: CInt) -> Int? {
    terminalSize(fileDescriptor).flatMap { $0.rows > 0 ? $0.rows : nil }
}

private func terminalSize(_ fileDescriptor: CInt) -> (rows: Int, columns: Int)? {
    var size = winsize()
    // Safety: the kernel writes one `winsize`, and `size` is one that outlives the call.
    guard unsafe ioctl(fileDescriptor, UInt(TIOCGWINSZ), &size) == 0 else { return nil }
    return (Int(size.ws_row), Int(size.ws_col))
}
