import CLinux
import Glibc

/// A thread, for work that blocks in the kernel for as long as the agent runs.
package struct Thread: ~Copyable, Sendable {
    private let handle: pthread_t

    package init(_ run: @escaping @Sendable () -> Void) throws(SystemError) {
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
            throw SystemError("pthread_create", code)
        }
        self.handle = handle
    }

    /// For how long it has run (pthread_getcpuclockid(3)).
    package var nanoseconds: UInt64 {
        var clock = clockid_t()
        // Safety: the call fills `clock`. The thread is there until it is joined.
        guard unsafe pthread_getcpuclockid(handle, &clock) == 0 else { return 0 }
        return Linux.nanoseconds(of: clock)
    }

    /// Waits until it has ended.
    package consuming func join() {
        _ = pthread_join(handle, nil)
    }

    /// Lets it run for as long as the program does.
    package consuming func detach() {
        _ = pthread_detach(handle)
    }
}

private final class Body: Sendable {
    let run: @Sendable () -> Void

    init(_ run: @escaping @Sendable () -> Void) {
        self.run = run
    }
}

/// Names the calling thread for `top -H` and debuggers; at most 15 bytes (pthread_setname_np(3)).
package func nameThread(_ name: String) {
    // A name that is too long leaves the thread as it was, which is no loss.
    unsafe _ = clinux_set_thread_name(name)
}

/// Has the calling thread run on these processors alone, as far as the process may use them: the kernel
/// takes no notice of others, and fails if there are none left (sched_setaffinity(2)).
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

/// How much the calling thread, and no other, gives way to others: -20 to 19 (setpriority(2)). Less
/// than it has given way before needs a capability.
package func setNiceness(_ niceness: CInt) throws(SystemError) {
    try call("setpriority") { clinux_set_niceness(niceness) }
}

/// How much the calling thread gives way to others.
package func niceness() -> CInt { clinux_niceness() }
