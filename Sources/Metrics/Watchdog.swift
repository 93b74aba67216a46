import Linux
import Synchronization
package import Time

/// A watch over the loops of a program that have to keep running.
///
/// Each loop beats when it wakes, and it wakes every few seconds even if nothing happens: that is some
/// wake-ups in ten seconds for each session, and nothing for each packet. The threads that dial sensors
/// are not watched: a name server that does not answer delays them for as long as the system's resolver
/// likes, and a restart of the agent would not help.
package final class Watchdog: Sendable {
    private let state = Mutex(State())

    private struct State {
        var loops: [UInt64: Loop] = [:]
        var nextID: UInt64 = 0
    }

    /// The longest that a loop waits for something to happen.
    package static let waitMax = Duration.seconds(10)
    /// The longest time between two beats.
    ///
    /// The longest work is to begin a capture on a large node that is busy otherwise, which takes 10 s.
    package static let silenceMax = Duration.seconds(30)

    /// The name of a loop and the time of its last beat, in nanoseconds.
    fileprivate final class Loop: Sendable {
        let name: String
        let lastBeat = Atomic<UInt64>(MonotonicTime.now.nanoseconds)

        init(_ name: String) { self.name = name }
    }

    /// A loop that is watched for as long as this value exists.
    package struct Heartbeat: ~Copyable, Sendable {
        private let watchdog: Watchdog
        private let id: UInt64
        private let loop: Loop

        fileprivate init(_ watchdog: Watchdog, _ id: UInt64, _ loop: Loop) {
            (self.watchdog, self.id, self.loop) = (watchdog, id, loop)
        }

        deinit { watchdog.end(id) }

        /// Records that the loop runs.
        package func beat() {
            loop.lastBeat.store(MonotonicTime.now.nanoseconds, ordering: .relaxed)
        }
    }

    /// Creates a watchdog without loops.
    package init() {}

    /// Begins to watch a loop.
    ///
    /// - Parameter name: A name for people to read.
    /// - Returns: The value to keep while the loop runs.
    package func begin(_ name: String) -> Heartbeat {
        let loop = Loop(name)
        return state.withLock { state in
            defer { state.nextID += 1 }
            state.loops[state.nextID] = loop
            return Heartbeat(self, state.nextID, loop)
        }
    }

    private func end(_ id: UInt64) { state.withLock { $0.loops[id] = nil } }

    /// The loops whose last beat is too long ago, the one that is silent for longest first.
    package func stuckLoops(now: MonotonicTime) -> [(name: String, silence: Duration)] {
        let loops = state.withLock { Array($0.loops.values) }
        return loops.compactMap { loop in
            let lastBeat = loop.lastBeat.load(ordering: .relaxed)
            let silence = now - MonotonicTime(nanoseconds: lastBeat)
            return silence > Self.silenceMax ? (loop.name, silence) : nil
        }.sorted { $0.silence > $1.silence }
    }

    /// The number of loops that are watched.
    package var count: Int { state.withLock { $0.loops.count } }
}
