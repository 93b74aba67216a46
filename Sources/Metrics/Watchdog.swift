import Linux
import Synchronization

/// The loops of the agent that have to turn for as long as they are there, and when each did last.
///
/// Each beats when it wakes, and wakes every few seconds also when nothing happens: some wake-ups in
/// ten seconds for each session, and nothing for each packet. Who dials a sensor is none of them: a
/// name server that does not answer keeps it for as long as the system's resolver says, and a new start
/// of the agent would not help.
package final class Watchdog: Sendable {
    private let state = Mutex(State())

    private struct State {
        var beats: [UInt64: Beat] = [:]
        var nextID: UInt64 = 0
    }

    /// The longest that a loop waits.
    package static let waitMilliseconds: CInt = 10_000
    /// The longest that one may take, with what it does after it has waited. The longest work is to
    /// begin a capture on a large node that is busy otherwise, 10 s.
    package static let nanosecondsMax: UInt64 = 30_000_000_000

    /// What a loop is, and when it has turned last.
    fileprivate final class Beat: Sendable {
        let name: String
        let time: Atomic<UInt64>

        init(_ name: String, _ time: UInt64) {
            self.name = name
            self.time = Atomic(time)
        }
    }

    /// A loop that turns, for as long as this value is there.
    package struct Heartbeat: ~Copyable, Sendable {
        private let pulses: Watchdog
        private let id: UInt64
        private let last: Beat

        fileprivate init(_ pulses: Watchdog, _ id: UInt64, _ last: Beat) {
            (self.pulses, self.id, self.last) = (pulses, id, last)
        }

        deinit { pulses.end(id) }

        /// Says that the loop turns.
        package func beat() { last.time.store(monotonicNanoseconds(), ordering: .relaxed) }
    }

    package init() {}

    /// Has a loop watched from now on. The name is for people.
    package func begin(_ name: String) -> Heartbeat {
        let beat = Beat(name, monotonicNanoseconds())
        return state.withLock { state in
            defer { state.nextID += 1 }
            state.beats[state.nextID] = beat
            return Heartbeat(self, state.nextID, beat)
        }
    }

    private func end(_ id: UInt64) { state.withLock { $0.beats[id] = nil } }

    /// The loops that should have turned and have not, and for how many seconds, in order of age.
    package func stuck(now: UInt64) -> [(name: String, seconds: UInt64)] {
        let beats = state.withLock { Array($0.beats.values) }
        return beats.compactMap { beat in
            let time = beat.time.load(ordering: .relaxed)
            guard now > time + Self.nanosecondsMax else { return nil }
            return (beat.name, (now - time) / 1_000_000_000)
        }.sorted { $0.seconds > $1.seconds }
    }

    package var count: Int { state.withLock { $0.beats.count } }
}
