import Formats
import Time

/// An agent that is not connected: it has gone, or it is dialled and is not there.
package struct AbsentAgent: Equatable, Sendable {
    /// The source that is dialled, or the host of an agent that dialled.
    package let name: String
    /// The device that it captured last; empty if it has not captured yet.
    package let device: String
    /// The state in a few words: `"gone 5s"`, `"ended 5s"`, `"retry in 3s"`.
    package let state: String
    /// Whether nothing is missing, since its capture was ended in order, or another session has gone on.
    package let isWell: Bool
    /// Why a source is not captured from; nil for others.
    package let reason: String?
    /// What it has sent; nil if it has not captured yet.
    package let statistics: SourceStatistics?

    /// The most agents that have gone and are shown, the last ones; all are in the final numbers.
    static let goneCountMax = 64
}

extension Collector {
    /// The agents that are not connected: all that are dialled, then those that have gone.
    func absentAgents(now: MonotonicTime) -> [AbsentAgent] {
        let dialled = dialers.filter { $0.link == nil }.map { dialer in
            let gone = dialer.counters?.endedAt.map { "gone \((now - $0).text), " } ?? ""
            return AbsentAgent(
                name: "\(dialer.source)", device: dialer.counters?.device ?? "",
                state: gone + dialer.state(now: now), isWell: false, reason: dialer.reason,
                statistics: dialer.counters?.statistics(now: now))
        }
        let known = Set(dialers.compactMap(\.counters).map { ObjectIdentifier($0) })
        let gone = outputs.sources.counters.compactMap { counters in
            counters.endedAt.map { (counters, endedAt: $0) }
        }.filter { !known.contains(ObjectIdentifier($0.0)) }
            .sorted { $0.endedAt > $1.endedAt }.prefix(AbsentAgent.goneCountMax)
        return dialled
            + gone.map { counters, endedAt in
                AbsentAgent(
                    name: counters.agent, device: counters.device,
                    state: "\(counters.state.rawValue) \((now - endedAt).text)",
                    isWell: counters.state == .ended, reason: nil,
                    statistics: counters.statistics(now: now))
            }
    }
}
