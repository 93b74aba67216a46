import CLinux
import Glibc
package import Time

extension MonotonicTime {
    /// The time now, as the kernel's clock has it (`CLOCK_MONOTONIC`).
    package static var now: Self { Self(nanoseconds: Linux.nanoseconds(of: CLOCK_MONOTONIC)) }
}

/// Nanoseconds since 1970, as the node's clock has it (`CLOCK_REALTIME`).
package func wallClockNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_REALTIME) }

/// Nanoseconds for which the calling thread has run (`CLOCK_THREAD_CPUTIME_ID`).
package func threadNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_THREAD_CPUTIME_ID) }

/// The largest error of the node's clock in microseconds, or nil if nothing keeps it right.
///
/// The estimate is that of the time service, such as chronyd, which reports it to the kernel
/// (adjtimex(2)). It is nil too when the service has not reported for long.
package func wallClockErrorMicroseconds() -> Int? {
    let error = clinux_clock_error()
    return error < 0 ? nil : Int(error)
}

/// Waits until a time has come.
package func sleep(until time: MonotonicTime) {
    while true {
        let rest = (time - .now).clampedNanoseconds
        guard rest > 0 else { return }
        var interval = interval(nanoseconds: rest)
        // Safety: the call reads the interval. If a signal ends it early, the loop goes on.
        unsafe _ = nanosleep(&interval, nil)
    }
}

/// Waits for a signal that the calling thread blocks (sigtimedwait(2)).
///
/// - Returns: Whether it has come in time.
package func waitForSignal(_ signal: CInt, within time: Duration) -> Bool {
    var interval = interval(nanoseconds: time.clampedNanoseconds)
    var signals = sigset_t()
    // Safety: the calls write and read plain values of this frame.
    unsafe _ = sigemptyset(&signals)
    unsafe _ = sigaddset(&signals, signal)
    return unsafe sigtimedwait(&signals, nil, &interval) == signal
}

private func interval(nanoseconds: Int64) -> timespec {
    timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
}

func nanoseconds(of clock: clockid_t) -> UInt64 {
    var time = timespec()
    // Safety: the call fills `time`, and cannot fail for a clock that every kernel has.
    unsafe _ = clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
