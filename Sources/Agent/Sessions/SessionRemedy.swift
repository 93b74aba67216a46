import Linux
import Logging
import RPCAP
import Security
import Settings

/// What a person can do about a session that fails: at this end, and at the other one.
enum SessionRemedy {
    /// The text for a peer that begins without TLS.
    static func needsTLS(_ mode: ServerSession.Mode) -> String {
        "this agent speaks TLS only: "
            + (mode == .active ? "start podwire collect with --tls" : "use rpcaps")
    }

    /// The remedy for a session that has begun, and failed.
    static func text(
        for reason: String, after refusal: ServerSession.Refusal?, _ mode: ServerSession.Mode
    ) -> String? {
        if reason == ServerSession.tlsReason { return missingTLS(mode) }
        switch refusal?.code {
        case .credentials: return credentials(mode)
        case .unknownLogin:
            return "the peer has to log in without a password, or with a name and one"
        case .open: return "`podwire edges` lists the edges of this node, whose names are devices"
        case .filter: return "the peer has to ask for a shorter filter, or for none"
        case .wrongVersion, .wrongMessage:
            return mode == .active
                ? "what listens at \(Setting.sensors.option) is no RPCAP sensor: correct its port"
                : "what dials is no RPCAP client"
        default: return nil
        }
    }

    private static func missingTLS(_ mode: ServerSession.Mode) -> String {
        let options =
            "give this agent \(Setting.tlsCertificate.option) and \(Setting.tlsKey.option), "
        return switch mode {
        case .active:
            options + "with \(Setting.tlsPeers.option) all or sensors; or have the sensor speak no "
                + "TLS (podwire collect without --tls)"
        case .passive:
            options + "with \(Setting.tlsPeers.option) all or clients; or have the client speak no "
                + "TLS (rpcap:// for rpcaps://)"
        }
    }

    private static func credentials(_ mode: ServerSession.Mode) -> String {
        "`podwire password` adds names to the file of \(Setting.passwordFile.option)"
            + (mode == .passive
                ? "; \(Setting.nullLogin.option) lets clients in without a password" : "")
    }

    /// The remedy for a TLS handshake that fails.
    static func text(for failure: TLSFailure, _ mode: ServerSession.Mode) -> String? {
        switch failure {
        case .notTLS:
            mode == .active
                ? "have the sensor speak TLS (podwire collect --tls), or set "
                    + "\(Setting.tlsPeers.option) clients"
                : "have the client speak TLS (rpcaps:// for rpcap://), or set "
                    + "\(Setting.tlsPeers.option) sensors"
        case .refused(let reason) where reason.contains("expired"):
            "renew the certificate of \(Setting.tlsCertificate.option)"
        case .refused(let reason) where reason.contains("unknown CA"):
            "have the peer trust the authority of \(Setting.tlsCertificate.option), as with "
                + "podwire collect --tls-ca"
        case .refused(let reason) where reason.contains("certificate"):
            "the peer does not take the certificate of \(Setting.tlsCertificate.option): its log says why"
        default: nil
        }
    }

    /// The remedy for a sensor that cannot be reached, as metadata.
    static func metadata(for error: any Error) -> Logger.Metadata {
        text(for: error).map { ["remedy": "\($0)"] } ?? [:]
    }

    private static func text(for error: any Error) -> String? {
        let option = Setting.sensors.option
        if error is ResolveFailure {
            return "correct the name in \(option), or see that this node can resolve it"
        }
        switch (error as? SystemError)?.errno {
        case .connectionRefused:
            return "nothing listens there: start the sensor, or correct the port in \(option)"
        case .timedOut:
            return "see that no firewall drops it, or correct the address in \(option)"
        case .hostUnreachable, .networkUnreachable:
            return "see that this node has a route there, or correct the address in \(option)"
        default: return nil
        }
    }
}
