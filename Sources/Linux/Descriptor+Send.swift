import Glibc

extension Descriptor {
    /// Sends what a stream socket takes without waiting (send(2)).
    ///
    /// - Returns: The number of bytes that were sent, or 0 if the socket takes none for now.
    package func send(_ bytes: RawSpan) throws(SystemError) -> Int {
        while true {
            // Safety: the kernel reads the span, which stays in place for the call.
            let count = unsafe bytes.withUnsafeBytes { bytes in
                unsafe Glibc.send(
                    fileDescriptor, bytes.baseAddress, bytes.count,
                    CInt(MSG_DONTWAIT | MSG_NOSIGNAL))
            }
            if count >= 0 { return count }
            let errno = Errno.current
            if errno == .wouldBlock { return 0 }
            guard errno == .interrupted else { throw SystemError("send", errno) }
        }
    }
}
