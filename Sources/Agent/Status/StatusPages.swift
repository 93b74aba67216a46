import Edges
import Formats
import HTTPEndpoint
import Linux
import Metrics
import Settings
import Synchronization

/// The pages of the agent's endpoint.
///
/// Each is made at most some times a second, however often it is asked for, and who asks in between
/// gets the same: making one asks forwarders, who have other things to do.
final class StatusPages: Sendable {
    private let status: AgentStatus
    private let feed: NodePublisher
    private let settings: Settings
    private let state = Mutex(State())

    private struct State {
        var made: [Page: (time: UInt64, response: Response)] = [:]
        var series = EdgeLabelSet()
    }

    private static let freshNanoseconds: UInt64 = 250_000_000

    private enum Page: String, CaseIterable {
        case index = "/"
        case metrics = "/metrics"
        case alive = "/healthz"
        case ready = "/readyz"
        case edges = "/edges"

        var text: String {
            switch self {
            case .index: "this page"
            case .metrics: "what is counted, for Prometheus"
            case .alive: "200 while all loops turn, or else 503 and which do not"
            case .ready: "200 while packets can reach a sensor, or else 503 and why not"
            case .edges: "this node's edges, as JSON"
            }
        }
    }

    init(_ status: AgentStatus, _ feed: NodePublisher, _ settings: Settings) {
        (self.status, self.feed, self.settings) = (status, feed, settings)
    }

    /// The page at a path; nil if there is none.
    func response(_ path: String) -> Response? {
        guard let page = Page(rawValue: path) else { return nil }
        return state.withLock { state in
            let now = monotonicNanoseconds()
            if let made = state.made[page], now < made.time + Self.freshNanoseconds {
                return made.response
            }
            let response = make(page, &state.series)
            state.made[page] = (now, response)
            return response
        }
    }

    private func make(_ page: Page, _ series: inout EdgeLabelSet) -> Response {
        switch page {
        case .index:
            let lines = Page.allCases.map { "\($0.rawValue)  \($0.text)\n" }
            return Response("podwire agent \(Version.number)\n\n" + lines.joined())
        case .metrics:
            status.count()
            let metrics = AgentMetrics(status, feed, settings, &series)
            return Response(metrics.text, contentType: Exposition.contentType)
        case .alive: return Response(liveness)
        case .ready: return Response(Health.readiness(of: status, feed.mismatch))
        case .edges:
            return Response(feed.node.json.text + "\n", contentType: Response.json)
        }
    }

    /// How long an agent that was stopped as a whole has to come round, by a debugger or a freezer:
    /// its threads go on in no order, and the one that answers may be the first.
    private static let awakeningMilliseconds: CInt = 200

    private var liveness: Health {
        let health = Health.liveness(of: status.pulses, now: monotonicNanoseconds())
        guard !health.isGood else { return health }
        _ = try? poll([], milliseconds: Self.awakeningMilliseconds)
        return Health.liveness(of: status.pulses, now: monotonicNanoseconds())
    }
}

extension Response {
    fileprivate init(_ health: Health) {
        self.init(health.text, health.isGood ? .ok : .unavailable)
    }
}
