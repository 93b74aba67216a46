import Synchronization
import Time

/// The memory that the rings of all captures of a node may take.
///
/// Captures take of it through their budgets (`RingBudget`), each from its own thread.
package final class RingMemory: Sendable {
    private struct State {
        /// The number of bytes that rings take or have reserved.
        var usedByteCount = 0
        /// The part of these that are clients' rings.
        var clientByteCount = 0
        /// The most bytes now; less than was given while the kernel has no more memory.
        var byteCountMax: Int
        var exhaustedUntil = MonotonicTime.zero
    }

    private let state: Mutex<State>
    private let givenByteCount: Int
    /// The most bytes of clients' rings.
    private let clientByteCountMax: Int

    /// How long the kernel is assumed to have no more memory.
    private static let exhaustion = Duration.seconds(60)

    /// Creates the memory.
    ///
    /// - Parameters:
    ///   - byteCountMax: The most bytes of all rings, but for one ring of each capture; see
    ///   `RingBudget`.
    ///   - hasSensors: Whether half of it is left to sensors, since clients may come first.
    package init(byteCountMax: Int, hasSensors: Bool = false) {
        givenByteCount = byteCountMax
        clientByteCountMax = hasSensors ? byteCountMax / 2 : byteCountMax
        state = Mutex(State(byteCountMax: byteCountMax))
    }

    /// The most bytes now; less than was given while the kernel has no more memory.
    package var byteCountMax: Int { state.withLock { $0.byteCountMax } }

    /// The number of bytes that rings take or have reserved.
    package var usedByteCount: Int { state.withLock { $0.usedByteCount } }

    /// Whether there is less memory than was given because the kernel had no more.
    package var isKernelExhausted: Bool { byteCountMax < givenByteCount }

    /// Makes a share, which holds nothing at first.
    ///
    /// - Parameter isClient: Whether it is for a client's capture.
    /// - Returns: The share.
    func share(isClient: Bool = false) -> Share { Share(of: self, isClient: isClient) }

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
        private let isClient: Bool

        fileprivate init(of memory: RingMemory, isClient: Bool) {
            (self.memory, self.isClient) = (memory, isClient)
        }

        deinit { giveBack(byteCount) }

        /// Takes memory, if beside it some is left.
        ///
        /// - Parameters:
        ///   - wanted: The number of bytes to take.
        ///   - rest: The number of bytes that must be left to others.
        /// - Returns: Whether there was enough.
        func take(_ wanted: Int, leaving rest: Int = 0) -> Bool {
            let isTaken = memory.state.withLock { state in
                guard state.usedByteCount + wanted + rest <= state.byteCountMax,
                    !isClient || state.clientByteCount + wanted <= memory.clientByteCountMax
                else { return false }
                add(wanted, to: &state)
                return true
            }
            if isTaken { byteCount += wanted }
            return isTaken
        }

        /// Takes memory even if there is none.
        func takeRegardless(_ wanted: Int) {
            memory.state.withLock { add(wanted, to: &$0) }
            byteCount += wanted
        }

        private func add(_ count: Int, to state: inout State) {
            state.usedByteCount += count
            if isClient { state.clientByteCount += count }
        }

        /// Gives memory back.
        func giveBack(_ count: Int) {
            memory.state.withLock { add(-count, to: &$0) }
            byteCount -= count
        }
    }
}
