package import Kernel

import Glibc
import Trust

/// What clients need that dial the agent, and the files that settings name.
package enum ListenerCheck {
    static func findings(_ settings: Settings, isAgentRunning: Bool) -> [Finding] {
        [listener(settings, isAgentRunning), users(settings), certificate(settings)].flatMap { $0 }
    }

    private static func listener(_ settings: Settings, _ isAgentRunning: Bool) -> [Finding] {
        guard let passive = settings.passive else { return [] }
        do throws(SystemError) {
            _ = try Listener(at: passive.listen)
            return [.ok("listener", "\(passive.listen) is free")]
        } catch {
            if error.code == EADDRINUSE, isAgentRunning {
                return [.ok("listener", "\(passive.listen) is in use, and an agent runs here")]
            }
            return [finding(passive.listen, error)]
        }
    }

    package static func finding(_ address: SocketAddress, _ error: SystemError) -> Finding {
        let remedy =
            switch error.code {
            case EADDRINUSE:
                """
                end what listens there (`ss -ltnp`), such as another agent or rpcapd, or give \
                \(Setting.listen.option) another port
                """
            case EADDRNOTAVAIL:
                "give \(Setting.listen.option) an address of this node, or a port alone"
            case EACCES: "ports below 1024 need CAP_NET_BIND_SERVICE: give a higher one"
            default: "give \(Setting.listen.option) another address"
            }
        return Finding(
            .failed, "listener", "\(address) cannot be listened at: \(error.reason)",
            meaning: "the agent does not start", remedy: remedy)
    }

    private static func users(_ settings: Settings) -> [Finding] {
        guard let path = settings.passive?.passwordFile else { return [] }
        do throws(UserFile.Failure) {
            let file = try UserFile(path)
            return findings("password file", file.takeNotices())
                ?? [.ok("password file", Finding.count(file.count, "user"))]
        } catch {
            return [unusable("password file", "\(error)")]
        }
    }

    private static func certificate(_ settings: Settings) -> [Finding] {
        guard let tls = settings.tls else { return [] }
        do throws(TLSFailure) {
            let server = try TLSServer(certificate: tls.certificate, key: tls.key)
            return findings("TLS", server.takeNotices())
                ?? [.ok("TLS", "\(tls.certificate) and its key can be used")]
        } catch {
            return [unusable("TLS", "\(error)")]
        }
    }

    /// Nil if there is nothing to say.
    private static func findings(_ check: String, _ notices: [Notice]) -> [Finding]? {
        let warnings = notices.filter(\.isWarning)
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
