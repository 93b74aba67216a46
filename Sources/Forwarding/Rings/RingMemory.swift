import Synchronization
import Time

/// The memory that the rings of all captures of a node may take.
///
/// Captures take of it through their budgets (`RingBudget`), each from its own thread.
package final class RingMemory: Sendable {
    private struct State {
        /// The number of bytes that rings take or have reserved.
        var usedByteCount = 0
        /// The most bytes now; less than was given while the kernel has no more memory.
        var byteCountMax: Int
        var exhaustedUntil = MonotonicTime.zero
    }

    private let state: Mutex<State>
    private let givenByteCount: Int

    /// How long the kernel is assumed to have no more memory.
    private static let exhaustion = Duration.seconds(60)

    /// Creates the memory.
    ///
    /// - Parameter byteCountMax: The most bytes of all rings, but for one ring of each capture; see
    ///   `RingBudget`.
    package init(byteCountMax: Int) {
        givenByteCount = byteCountMax
        state = Mutex(State(byteCountMax: byteCountMax))
    }

    /// The most bytes now; less than was given while the kernel has no more memory.
    package var byteCountMax: Int { state.withLock { $0.byteCountMax } }

    /// The number of bytes that rings take or have reserved.
    package var usedByteCount: Int { state.withLock { $0.usedByteCount } }

    /// Whether there is less memory than was given because the kernel had no more.
    package var isKernelExhausted: Bool { byteCountMax < givenByteCount }

    /// Makes a share, which holds nothing at first.
    func share() -> Share { Share(of: self) }

    /// Records that the kernel has no more memory than is in use; that is assumed for a minute.
    func markExhausted(now: MonotonicTime) {
        state.withLock {
            $0.byteCountMax = $0.usedByteCount
            $0.exhaustedUntil = now + Self.exhaustion
        }
    }

    /// Gives the kernel another try when it has been assumed for long enough to have no memory.
    func endExhaustion(now: MonotonicTime) {
        state.withLock { if now >= $0.exhaustedUntil { $0.byteCountMax = givenByteCount } }
    }
}

extension RingMemory {
    /// What one capture has taken of the memory, which is given back at the latest when this is gone.
    ///
    /// It belongs to the thread of the capture's ring manager.
    final class Share {
        let memory: RingMemory
        /// The number of bytes that this capture's rings take or have reserved.
        private(set) var byteCount = 0

        fileprivate init(of memory: RingMemory) { self.memory = memory }

        deinit { giveBack(byteCount) }

        /// Takes memory, if beside it some is left.
        ///
        /// - Parameters:
        ///   - wanted: The number of bytes to take.
        ///   - rest: The number of bytes that must be left to others.
        /// - Returns: Whether there was enough.
        func take(_ wanted: Int, leaving rest: Int = 0) -> Bool {
            let isTaken = memory.state.withLock { state in
                guard state.usedByteCount + wanted + rest <= state.byteCountMax else {
                    return false
                }
                state.usedByteCount += wanted
                return true
            }
            if isTaken { byteCount += wanted }
            return isTaken
        }

        /// Takes memory even if there is none.
        func takeRegardless(_ wanted: Int) {
            memory.state.withLock { $0.usedByteCount += wanted }
            byteCount += wanted
        }

        /// Gives memory back.
        func giveBack(_ count: Int) {
            memory.state.withLock { $0.usedByteCount -= count }
            byteCount -= count
        }
    }
}
