import Settings
import Formats
package import Linux

import Glibc
import Security

/// Where the agent listens, and the files that settings name.
package enum ListenerCheck {
    /// What an address is for, and what becomes of the agent if it cannot be had.
    package enum Purpose: String, Sendable {
        case clients = "listener"
        case probes = "http"

        var setting: Setting { self == .clients ? .listen : .http }
        var grade: Finding.Grade { self == .clients ? .failed : .warning }
        var loss: String {
            switch self {
            case .clients: "the agent does not start"
            case .probes:
                "metrics and probes are not answered, and a kubelet takes the agent for dead"
            }
        }
    }

    static func findings(_ settings: Settings, _ agents: [RunningAgent]) -> [Finding] {
        let addresses: [(Purpose, SocketAddress?)] = [
            (.clients, settings.passive?.listen), (.probes, settings.http),
        ]
        return addresses.compactMap { purpose, address in
            address.map { listener(purpose, $0, agents) }
        } + users(settings) + certificate(settings)
    }

    private static func listener(
        _ purpose: Purpose, _ address: SocketAddress, _ agents: [RunningAgent]
    ) -> Finding {
        do throws(SystemError) {
            _ = try Listener(at: address)
            return .ok(purpose.rawValue, "\(address) is free")
        } catch {
            guard error.errno == .addressInUse else { return finding(purpose, address, error) }
            switch purpose {
            case .clients where agents.contains { $0.listens(at: address.port) }:
                return .ok(purpose.rawValue, "\(address) is in use, and an agent runs here")
            case .probes where AgentProbe.isAgent(at: address):
                return .ok(purpose.rawValue, "\(address) is in use, and an agent answers there")
            default: return finding(purpose, address, error)
            }
        }
    }

    package static func finding(
        _ purpose: Purpose, _ address: SocketAddress, _ error: SystemError
    ) -> Finding {
        let option = purpose.setting.option
        let remedy =
            switch error.errno {
            case .addressInUse:
                """
                end what listens there (`ss -ltnp`), such as another agent or rpcapd, or give \
                \(option) another port
                """
            case .addressNotAvailable: "give \(option) an address of this node, or a port alone"
            case .permissionDenied: "ports below 1024 need CAP_NET_BIND_SERVICE: give a higher one"
            default: "give \(option) another address"
            }
        return Finding(
            purpose.grade, purpose.rawValue, "\(address) cannot be listened at: \(error.reason)",
            meaning: purpose.loss, remedy: remedy)
    }

    private static func users(_ settings: Settings) -> [Finding] {
        guard let path = settings.passive?.passwordFile else { return [] }
        do throws(UserFile.Failure) {
            let file = try UserFile(path)
            return findings("password file", file.takeReloadEvents())
                ?? [.ok("password file", Wording.count(file.count, "user"))]
        } catch {
            return [unusable("password file", "\(error)")]
        }
    }

    private static func certificate(_ settings: Settings) -> [Finding] {
        guard let tls = settings.tls else { return [] }
        do throws(TLSFailure) {
            let server = try TLSServer(certificate: tls.certificate, key: tls.key)
            return findings("TLS", server.takeReloadEvents())
                ?? [.ok("TLS", "\(tls.certificate) and its key can be used")]
        } catch {
            return [unusable("TLS", "\(error)")]
        }
    }

    /// Nil if there is nothing to say.
    private static func findings(_ check: String, _ events: [ReloadEvent]) -> [Finding]? {
        let warnings = events.filter(\.isWarning)
        guard !warnings.isEmpty else { return nil }
        return warnings.map {
            Finding(
                .warning, check, "\($0)", meaning: "clients may be let in or turned away wrongly",
                remedy: "change the file; a running agent sees it by itself")
        }
    }

    private static func unusable(_ check: String, _ reason: String) -> Finding {
        Finding(
            .failed, check, reason, meaning: "the agent does not start, and exits with 64",
            remedy: "mount the file where the setting says, in a form that can be used")
    }
}
