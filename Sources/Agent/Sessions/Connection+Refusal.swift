import Linux
import RPCAP

extension Connection {
    /// Sends an error in plain RPCAP, and nothing more.
    ///
    /// The peer can still send. Closed with something unread, the connection would take the error with
    /// it.
    func refuse(_ code: ErrorCode, _ text: String) throws(SystemError) {
        _ = try send(Message.error(code, text)[...])
        endSending()
    }
}
