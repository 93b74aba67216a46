/// A point in time on a clock that never goes back: nanoseconds since the machine started.
///
/// It has no meaning on another machine or after a restart. Reading the clock takes a system call,
/// so it is left to the module `Linux` (`MonotonicTime.now`): logic is given the time, which is
/// what lets tests reach a time-out without waiting for it.
@frozen
public struct MonotonicTime: Hashable, Sendable {
    /// Nanoseconds since the machine started.
    public let nanoseconds: UInt64

    /// A time as the kernel's clock gives it.
    @inlinable
    public init(nanoseconds: UInt64) { self.nanoseconds = nanoseconds }

    /// The time at which the machine started.
    @inlinable public static var zero: Self { Self(nanoseconds: 0) }

    /// A time that never comes, 584 years after the start.
    @inlinable public static var distantFuture: Self { Self(nanoseconds: .max) }

    /// The time that is a duration later, or earlier if the duration is negative.
    ///
    /// - Returns: `zero` or `distantFuture` where the result lies outside them. `distantFuture`
    ///   stays what it is.
    @inlinable
    public func advanced(by duration: Duration) -> Self {
        guard self != .distantFuture else { return self }
        let step = duration.clampedNanoseconds
        let (sum, hasOverflown) =
            step < 0
            ? nanoseconds.subtractingReportingOverflow(step.magnitude)
            : nanoseconds.addingReportingOverflow(step.magnitude)
        guard hasOverflown else { return Self(nanoseconds: sum) }
        return step < 0 ? .zero : .distantFuture
    }

    /// The duration from this time to another one; negative if the other one is earlier.
    @inlinable
    public func duration(to other: Self) -> Duration {
        let distance = Int64(
            clamping: max(nanoseconds, other.nanoseconds) &- min(nanoseconds, other.nanoseconds))
        return .nanoseconds(other < self ? -distance : distance)
    }

    /// The time that is a duration later.
    @inlinable
    public static func + (time: Self, duration: Duration) -> Self { time.advanced(by: duration) }

    /// The time that is a duration earlier.
    @inlinable
    public static func - (time: Self, duration: Duration) -> Self {
        time.advanced(by: .zero - duration)
    }

    /// The duration between two times; negative if the first one is earlier.
    @inlinable
    public static func - (time: Self, earlier: Self) -> Duration { earlier.duration(to: time) }

    /// Moves the time on by a duration.
    @inlinable
    public static func += (time: inout Self, duration: Duration) { time = time + duration }
}

extension MonotonicTime: Comparable {
    /// Whether the first time is earlier.
    @inlinable
    public static func < (left: Self, right: Self) -> Bool { left.nanoseconds < right.nanoseconds }
}
