/// A system call that failed, and why.
package struct SystemError: Error, Hashable, CustomStringConvertible {
    /// The call, with the option it set if it failed at that: `"setsockopt PACKET_RX_RING"`.
    package let operation: String
    /// The kernel's reason.
    package let errno: Errno

    /// Creates an error with the reason that the last call has left.
    ///
    /// The reason is read before the text is made, since making it may allocate and change `errno`.
    package init(_ operation: @autoclosure () -> String, _ errno: Errno = .current) {
        self.errno = errno
        self.operation = operation()
    }

    /// The call and the reason: `"connect: Connection refused"`.
    package var description: String { "\(operation): \(errno)" }

    /// The reason alone, in the kernel's words: `"Connection refused"`.
    package var reason: String { errno.description }
}

/// Makes a system call, and repeats it when a signal interrupts it.
///
/// - Parameters:
///   - operation: The call's name, for the error.
///   - body: Makes the call, and returns a negative number if it fails.
/// - Returns: The result of the call, which is not negative.
/// - Throws: The reason if the call fails.
@discardableResult
package func call<Result: SignedInteger>(
    _ operation: @autoclosure () -> String, _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let errno = Errno.current
        guard errno == .interrupted else { throw SystemError(operation(), errno) }
    }
}
