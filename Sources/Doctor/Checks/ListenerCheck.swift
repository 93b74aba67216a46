import Linux
import Settings

/// Checks whether the agent can listen for clients.
enum ListenerCheck: DoctorCheck {
    static let id = "listener"
    static let title = "listener"

    static func findings(_ node: Examination) -> [Finding] {
        guard let address = node.settings.passive?.listen, let port = node.clientPort else {
            return []
        }
        switch port {
        case .free: return [ok("\(address) is free")]
        case .heldByAgent: return [ok("\(address) is in use, and an agent runs here")]
        case .failed(let error):
            return [
                finding(
                    .failed, "cannot listen at \(address): \(error.reason)",
                    meaning: "the agent does not start",
                    remedy: PortState.advice(error, .listen))
            ]
        }
    }
}

extension PortState {
    /// What to do if a setting's address cannot be listened at.
    static func advice(_ error: SystemError, _ setting: Setting) -> String {
        switch error.errno {
        case .addressInUse:
            """
            end what listens there (`ss -ltnp`), such as another agent or rpcapd, or give \
            \(setting.option) another port
            """
        case .addressNotAvailable: "give \(setting.option) an address of this node, or a port alone"
        case .permissionDenied:
            "give \(setting.option) a port above 1023: lower ones need CAP_NET_BIND_SERVICE"
        default: "give \(setting.option) another address"
        }
    }
}
