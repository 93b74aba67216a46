package import Time

import Glibc

extension MonotonicTime {
    /// The time now, as the kernel's clock has it (`CLOCK_MONOTONIC`).
    package static var now: Self { Self(nanoseconds: monotonicNanoseconds()) }
}

/// Nanoseconds of a clock that never goes back and has no meaning across reboots
/// (`CLOCK_MONOTONIC`): for intervals and deadlines.
package func monotonicNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_MONOTONIC) }

/// Nanoseconds since 1970, as the node's clock has it (`CLOCK_REALTIME`).
package func wallClockNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_REALTIME) }

/// Nanoseconds for which the calling thread has run (`CLOCK_THREAD_CPUTIME_ID`).
package func threadNanoseconds() -> UInt64 { nanoseconds(of: CLOCK_THREAD_CPUTIME_ID) }

func nanoseconds(of clock: clockid_t) -> UInt64 {
    var time = timespec()
    // Safety: the call fills `time`, and cannot fail for a clock that every kernel has.
    unsafe _ = clock_gettime(clock, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}

/// Waits until a time has come.
package func sleep(until time: MonotonicTime) { sleep(until: time.nanoseconds) }

/// Waits until this clock has come to a time.
package func sleep(until nanoseconds: UInt64) {
    while true {
        let now = monotonicNanoseconds()
        guard now < nanoseconds else { return }
        let rest = nanoseconds - now
        var time = timespec(
            tv_sec: Int(rest / 1_000_000_000), tv_nsec: Int(rest % 1_000_000_000))
        // Safety: the call reads a time. A signal only has it look at the clock again.
        unsafe _ = nanosleep(&time, nil)
    }
}
