import CLinux
import Glibc

/// A thread, for work that waits in the kernel for as long as the agent runs.
package struct Thread: ~Copyable, Sendable {
    private let handle: pthread_t

    /// Starts a thread that runs a closure and then ends.
    ///
    /// It takes no signal that comes from outside: one that the main thread has blocked, for another thread
    /// to wait for, must not end the program here.
    package init(_ run: @escaping @Sendable () -> Void) throws(SystemError) {
        let mask = SignalMask.blockAll()
        defer { mask.restore() }
        let body = unsafe Unmanaged.passRetained(Body(run))
        var handle = pthread_t()
        // Safety: the thread takes over the reference it is handed, and drops it when it ends.
        let code = unsafe pthread_create(
            &handle, nil,
            { argument in
                unsafe Unmanaged<Body>.fromOpaque(argument!).takeRetainedValue().run()
                return nil
            }, body.toOpaque())
        guard code == 0 else {
            unsafe body.release()
            throw SystemError("pthread_create", Errno(rawValue: code))
        }
        self.handle = handle
    }

    /// The CPU time that the thread has used, in nanoseconds (pthread_getcpuclockid(3)).
    package var nanoseconds: UInt64 {
        var clock = clockid_t()
        // Safety: the call fills `clock`. The thread is there until it is joined.
        guard unsafe pthread_getcpuclockid(handle, &clock) == 0 else { return 0 }
        return Linux.nanoseconds(of: clock)
    }

    /// Waits until the thread has ended.
    package consuming func join() {
        _ = pthread_join(handle, nil)
    }

    /// Lets the thread run on by itself, for as long as the program does.
    package consuming func detach() {
        _ = pthread_detach(handle)
    }
}

/// The signals that the calling thread had blocked (pthread_sigmask(3)).
private struct SignalMask {
    private var before = sigset_t()

    /// The faults of a thread itself, at which a blocked signal would hide where it was.
    private static let faults = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGABRT]

    /// Blocks all signals but those of faults, and returns what was blocked.
    static func blockAll() -> Self {
        var mask = Self()
        var all = sigset_t()
        // Safety: all are plain values of this frame.
        unsafe _ = sigfillset(&all)
        for fault in faults { unsafe _ = sigdelset(&all, fault) }
        unsafe _ = pthread_sigmask(SIG_BLOCK, &all, &mask.before)
        return mask
    }

    /// Has the calling thread block what it had blocked.
    func restore() {
        var before = before
        // Safety: the call reads a plain value of this frame.
        unsafe _ = pthread_sigmask(SIG_SETMASK, &before, nil)
    }
}

private final class Body: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}

/// Names the calling thread for `top -H` and debuggers, with at most 15 bytes.
package func nameThread(_ name: String) {
    // A name that is too long leaves the thread as it was, which does no harm.
    unsafe _ = clinux_set_thread_name(name)
}

/// Restricts the calling thread to some processors (sched_setaffinity(2)).
///
/// The kernel ignores those that the process may not use.
///
/// - Throws: `EINVAL` if the process may use none of them.
package func setAffinity(_ processors: ProcessorSet) throws(SystemError) {
    let words = processors.words
    // Safety: the array stays put for the call, and the length is its own.
    try call("sched_setaffinity") {
        unsafe clinux_set_affinity(words, words.count * MemoryLayout<CUnsignedLong>.stride)
    }
}

/// The processors that the calling thread may run on.
package func affinity() throws(SystemError) -> ProcessorSet {
    var words = ProcessorSet.none
    let byteCount = words.count * MemoryLayout<CUnsignedLong>.stride
    // Safety: the array stays put for the call, and the length is its own.
    try call("sched_getaffinity") { unsafe clinux_affinity(&words, byteCount) }
    return ProcessorSet(words: words)
}

/// Sets the niceness of the calling thread alone, from -20 to 19 (setpriority(2)).
///
/// - Throws: `EACCES` or `EPERM` if it is lower than before and the process lacks CAP_SYS_NICE.
package func setNiceness(_ niceness: CInt) throws(SystemError) {
    try call("setpriority") { clinux_set_niceness(niceness) }
}

/// The niceness of the calling thread.
package func niceness() -> CInt { clinux_niceness() }
