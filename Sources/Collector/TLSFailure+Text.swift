import RPCAP
import Security

extension TLSFailure {
    /// The reason in words.
    ///
    /// An agent refuses a client before it begins with TLS, so its reason comes in plain RPCAP.
    var text: String {
        guard case .notTLS(let said) = self, let refusal = Message.refusal(at: said) else {
            return description
        }
        return refusal.description
    }
}
