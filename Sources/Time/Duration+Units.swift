extension Duration {
    /// Whole nanoseconds; the nearest that `Int64` holds, which is 292 years.
    @inlinable public var clampedNanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (product, hasOverflown) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !hasOverflown else { return seconds < 0 ? .min : .max }
        let (sum, hasOverflownAgain) =
            product.addingReportingOverflow(attoseconds / 1_000_000_000)
        guard !hasOverflownAgain else { return seconds < 0 ? .min : .max }
        return sum
    }

    /// Milliseconds as a system call takes them: none for a negative duration, else rounded up.
    ///
    /// Rounded down, a wait would end early, and a caller that waits again would spin.
    @inlinable public var waitMilliseconds: CInt {
        let nanoseconds = clampedNanoseconds
        guard nanoseconds > 0 else { return 0 }
        return CInt(clamping: (nanoseconds - 1) / 1_000_000 + 1)
    }

    /// A duration of nanoseconds that are counted without a sign; 292 years at most.
    @inlinable
    public static func nanoseconds(clamping nanoseconds: UInt64) -> Self {
        .nanoseconds(Int64(clamping: nanoseconds))
    }
}
