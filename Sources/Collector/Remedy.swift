import RPCAP
import Security

/// What a person can do about an agent that cannot be captured from: with an option of this program, or
/// at the agent.
enum Remedy {
    /// For an agent that does not open a data connection.
    static let dataConnection =
        "let agents reach all ports of this host, or give --from, so that this side opens it"
    /// For a data port that does not answer.
    static let dataPort =
        "let this host reach the ports that the agent's --data-ports names, or any without that"

    /// The remedy for an agent that cannot be reached.
    static func text(for kind: Dialer.Failure.Kind) -> String? {
        switch kind {
        case .noName: "correct the host in --from, or see that this host can resolve it"
        case .refused:
            "nothing listens there: start the agent with --listen, or correct the port in --from"
        case .noAnswer: "see that no firewall drops it, or correct the host in --from"
        case .other: nil
        }
    }

    /// The remedy for an answer that ended the session.
    static func text(for failure: ProtocolFailure, of source: Source?) -> String? {
        switch failure {
        case .wrongVersion, .unexpected, .tooLong, .tooShort:
            return source == nil
                ? "what dials here is no RPCAP agent"
                : "what listens there is no RPCAP agent: correct the port in --from"
        case .malformed: return nil
        case .refused(let code, _):
            return ErrorCode(rawValue: code).flatMap { text(for: $0, of: source) }
        }
    }

    private static func text(for code: ErrorCode, of source: Source?) -> String? {
        switch code {
        case .needsTLS:
            return source == nil
                ? "start this command with --tls" : "write rpcaps:// for rpcap:// in --from"
        case .credentials:
            guard source != nil else { return nil }
            return source?.login == .null
                ? "write rpcap://USER@HOST in --from, and give the password with --password-file"
                : "correct the user in --from, or the password of --password-file"
        case .hostNotAllowed: return "have the agent's --allow (PODWIRE_ALLOW) name this host"
        case .open: return "podwire collect --list shows the devices of the agents of --from"
        case .filter, .startCapture:
            return "if a filter is too long for it, give a shorter one or none"
        default: return nil
        }
    }

    /// The remedy for TLS that fails.
    static func text(for failure: TLSFailure, of source: Source?) -> String? {
        switch failure {
        case .notTLS(let said) where Message.refusal(at: said) == nil: return plain(source)
        case .notTLS(let said):
            return Message.refusal(at: said).flatMap { text(for: $0, of: source) }
        case .refused(reason: "handshake failure"): return plain(source)
        case .untrusted(let reason): return text(forUntrusted: reason, source)
        default: return nil
        }
    }

    /// The remedy for an agent without TLS.
    private static func plain(_ source: Source?) -> String {
        (source == nil ? "leave out --tls" : "write rpcap:// for rpcaps:// in --from")
            + ", or give the agent --tls-certificate and --tls-key"
    }

    private static func text(forUntrusted reason: String, _ source: Source?) -> String {
        if reason.contains("expired") {
            return "renew the agent's certificate (its --tls-certificate)"
        }
        if reason.hasPrefix("it is not for") {
            return
                "write a host in --from that the certificate is for, or give the agent another one"
        }
        return "name the agent's certificate or its authority with --tls-ca FILE"
    }
}
