import Forwarding
import Linux
import Security
import Testing

@Suite("A failure of a data connection")
struct SendFailureTests {
    /// The text for each error of the socket, over TLS or not.
    @Test(
        "says whose doing it was",
        arguments: [
            (Errno.brokenPipe, "the peer has closed the data connection"),
            (.connectionReset, "the peer has closed the data connection"),
            (.timedOut, "the peer has read nothing for 60 s"),
            (.hostUnreachable, "the peer has read nothing for 60 s"),
            (.networkDown, "send: Network is down"),
        ])
    func texts(errno: Errno, text: String) {
        let error = SystemError("send", errno)
        #expect(SendFailure(ofConnection: error).description == text)
        #expect(SendFailure(ofConnection: TLSFailure.system(error)).description == text)
    }
}
