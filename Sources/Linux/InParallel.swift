import Synchronization

/// Does some work many times at once, on a few threads and this one. Returns when all is done. For
/// work that waits in the kernel; where no thread can be made, this one does it all.
package func inParallel(
    _ count: Int, threadCountMax: Int, _ work: @escaping @Sendable (Int) -> Void
) {
    let next = Counter()
    let run: @Sendable () -> Void = {
        while let index = next.next(below: count) { work(index) }
    }
    var threads: [Handover<Thread>] = []
    for _ in 1..<max(1, min(threadCountMax, count)) {
        guard let thread = try? Thread(run) else { break }
        threads.append(Handover(thread))
    }
    run()
    for thread in threads { thread.take()?.join() }
}

private final class Counter: Sendable {
    private let value = Atomic<Int>(0)

    func next(below count: Int) -> Int? {
        let value = value.add(1, ordering: .relaxed).oldValue
        return value < count ? value : nil
    }
}
