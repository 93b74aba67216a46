import Synchronization

/// Calls a closure for each index, on a few threads and this one.
///
/// Returns when all calls are done.
///
/// It is for work that waits in the kernel. If no thread can be made, this one does everything.
package func inParallel(
    _ count: Int, threadCountMax: Int, _ work: @escaping @Sendable (Int) -> Void
) {
    let next = Counter()
    let run: @Sendable () -> Void = {
        while let index = next.next(below: count) { work(index) }
    }
    var threads: [TransferBox<Thread>] = []
    for _ in 1..<max(1, min(threadCountMax, count)) {
        guard let thread = try? Thread(run) else { break }
        threads.append(TransferBox(thread))
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
