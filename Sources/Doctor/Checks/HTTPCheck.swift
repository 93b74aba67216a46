import Linux
import Settings

/// Checks whether the agent can listen for requests for metrics and probes.
enum HTTPCheck: DoctorCheck {
    static let id = "http"
    static let title = "http"

    static func findings(_ node: Examination) -> [Finding] {
        zip(node.settings.http, node.httpPorts).map(finding)
    }

    private static func finding(_ address: SocketAddress, _ port: PortState) -> Finding {
        switch port {
        case .free: ok("\(address) is free")
        case .heldByAgent: ok("\(address) is in use, and an agent answers there")
        case .failed(let error):
            finding(
                .warning, "cannot listen at \(address): \(error.reason)",
                meaning: """
                    metrics and probes are not answered, and a kubelet takes the agent for dead
                    """,
                remedy: PortState.advice(error, .http))
        }
    }
}
