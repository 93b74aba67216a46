import Glibc

/// Returns the number of columns of a terminal (ioctl_tty(2)).
///
/// - Returns: Nil if the descriptor is no terminal, or the terminal does not say.
package func terminalWidth(_ fileDescriptor: CInt) -> Int? {
    var size = winsize()
    // Safety: the kernel writes one `winsize`, and `size` is one that outlives the call.
    guard unsafe ioctl(fileDescriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else {
        return nil
    }
    return Int(size.ws_col)
}
