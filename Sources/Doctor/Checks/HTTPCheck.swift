import Linux
import Settings

/// Checks whether the agent can listen for requests for metrics and probes.
enum HTTPCheck: DoctorCheck {
    static let id = "http"
    static let title = "http"

    static func findings(_ node: Examination) -> [Finding] {
        guard let address = node.settings.http, let port = node.httpPort else { return [] }
        switch port {
        case .free: return [ok("\(address) is free")]
        case .heldByAgent: return [ok("\(address) is in use, and an agent answers there")]
        case .failed(let error):
            return [
                finding(
                    .warning, "cannot listen at \(address): \(error.reason)",
                    meaning: """
                        metrics and probes are not answered, and a kubelet takes the agent for dead
                        """,
                    remedy: PortState.advice(error, .http))
            ]
        }
    }
}
