import Linux

/// The node's clock, and what is known of its error.
package struct ClockReading: Sendable {
    /// The seconds since 1970.
    package let nowSeconds: Int
    /// The largest error; nil if no time service reports one to the kernel.
    package let errorMicroseconds: Int?
    /// When this program was built, which the clock cannot be before.
    package let builtSeconds: Int?

    /// A reading by its parts.
    package init(nowSeconds: Int, errorMicroseconds: Int?, builtSeconds: Int?) {
        self.nowSeconds = nowSeconds
        self.errorMicroseconds = errorMicroseconds
        self.builtSeconds = builtSeconds
    }

    /// Reads the clock.
    static func read() -> Self {
        Self(
            nowSeconds: Int(wallClockNanoseconds() / 1_000_000_000),
            errorMicroseconds: wallClockErrorMicroseconds(),
            builtSeconds: (try? FileStamp(of: "/proc/self/exe"))?.writtenSeconds)
    }
}
