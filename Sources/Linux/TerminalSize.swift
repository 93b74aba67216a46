import Glibc

/// Returns the size of a terminal's window (ioctl_tty(2)).
///
/// - Returns: Nil if the descriptor is no terminal, or the terminal does not say.
package func terminalSize(_ fileDescriptor: CInt) -> (columns: Int, lines: Int)? {
    var size = winsize()
    // Safety: the kernel writes one `winsize`, and `size` is one that outlives the call.
    guard unsafe ioctl(fileDescriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0,
        size.ws_row > 0
    else { return nil }
    return (Int(size.ws_col), Int(size.ws_row))
}
