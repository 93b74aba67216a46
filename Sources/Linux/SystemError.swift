import Glibc

/// A system call that failed, and why.
package struct SystemError: Error, Equatable, CustomStringConvertible {
    /// The call, and the option it set if that is what went wrong: `"setsockopt PACKET_RX_RING"`.
    package let operation: String
    package let code: CInt

    /// Reads `errno` before it makes the text, which may allocate and so may change `errno`.
    package init(_ operation: @autoclosure () -> String, _ code: CInt = errno) {
        self.code = code
        self.operation = operation()
    }

    package var description: String {
        "\(operation): \(reason)"
    }

    /// What the kernel says, without the call: `"Connection refused"`.
    package var reason: String {
        // strerror(3) answers any number, and its text stays put until this thread asks again.
        unsafe String(cString: strerror(code))
    }
}

/// Makes a system call, again if a signal cut it short.
@discardableResult
package func call<Result: SignedInteger>(
    _ operation: @autoclosure () -> String, _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        guard errno == EINTR else { throw SystemError(operation()) }
    }
}
