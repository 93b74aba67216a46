import Addressing
import Edges
import Formats
import HTTPEndpoint
import Linux
import Metrics
import Settings
import Synchronization
import Time

/// The pages of the agent's endpoint.
///
/// A page is made at most four times a second, and requests in between get the same one: making a page
/// asks forwarders, which have other work.
final class StatusPages: Sendable {
    private let status: AgentStatus
    private let feed: NodePublisher
    private let settings: Settings
    private let state = Mutex(State())

    private struct State {
        var made: [Page: (time: MonotonicTime, response: Response)] = [:]
        var edgeLabels = EdgeLabelSet()
    }

    private static let ageMax = Duration.milliseconds(250)

    private enum Page: String, CaseIterable {
        case index = "/"
        case metrics = "/metrics"
        case alive = "/healthz"
        case ready = "/readyz"
        case edges = "/edges"

        var summary: String {
            switch self {
            case .index: "this page"
            case .metrics: "metrics for Prometheus"
            case .alive: "200 while all loops run, otherwise 503 and the loops that do not"
            case .ready:
                "200 while packets can reach a sensor, otherwise 503 and the reason; ?revision=NAME"
            case .edges: "the edges of this node, as JSON"
            }
        }
    }

    init(_ status: AgentStatus, _ feed: NodePublisher, _ settings: Settings) {
        (self.status, self.feed, self.settings) = (status, feed, settings)
    }

    /// The page that is asked for; nil if there is none.
    func response(_ target: RequestTarget, now: MonotonicTime) -> Response? {
        guard let page = Page(rawValue: target.path) else { return nil }
        if page == .ready, let refusal = refusal(ofRevision: target.value(of: "revision")) {
            return Response(refusal)
        }
        return state.withLock { state in
            if let made = state.made[page], now < made.time + Self.ageMax { return made.response }
            let response = make(page, &state.edgeLabels)
            state.made[page] = (now, response)
            return response
        }
    }

    /// Not ready, if a newer agent is asked for that has not taken over yet.
    ///
    /// In the node's network all its agents are asked at one port, and the one that forwards answers: for
    /// itself, and for the older one, which stands by until it is stopped. Agents that do not hand over
    /// never let go of the port, so they answer for all.
    private func refusal(ofRevision wanted: String?) -> Health? {
        guard settings.handover != nil, let wanted, wanted != settings.revision,
            StableHash.of(wanted) != status.olderRevisionHash.withLock({ $0 })
        else { return nil }
        return .otherRevision(than: settings.revision)
    }

    private func make(_ page: Page, _ edgeLabels: inout EdgeLabelSet) -> Response {
        switch page {
        case .index:
            let lines = Page.allCases.map { "\($0.rawValue)  \($0.summary)\n" }
            return Response("podwire agent \(Version.number)\n\n" + lines.joined())
        case .metrics:
            status.refreshCounts()
            let metrics = AgentMetrics(status, feed, settings, &edgeLabels)
            return Response(metrics.text, contentType: Exposition.contentType)
        case .alive: return Response(checkLiveness())
        case .ready: return Response(Health.readiness(of: status, feed.mismatch))
        case .edges:
            return Response(feed.node.json.text + "\n", contentType: Response.json)
        }
    }

    /// The time that an agent has to wake up after a debugger or a freezer stopped all of it: its
    /// threads go on in no order, and the one that serves this page may be the first.
    private static let awakeningMilliseconds: CInt = 200

    /// Looks whether all loops run, and looks again a little later if one does not.
    private func checkLiveness() -> Health {
        let health = Health.liveness(of: status.watchdog, now: .now)
        guard !health.isGood else { return health }
        _ = try? poll([], milliseconds: Self.awakeningMilliseconds)
        return Health.liveness(of: status.watchdog, now: .now)
    }
}

extension Response {
    fileprivate init(_ health: Health) {
        self.init(health.text, health.isGood ? .ok : .unavailable)
    }
}
