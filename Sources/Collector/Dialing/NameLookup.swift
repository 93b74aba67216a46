import Linux

/// A lookup of a host name on a thread of its own.
///
/// A resolver may take half a minute, and agents have to be served meanwhile.
struct NameLookup {
    /// The addresses, or why there are none.
    typealias Answer = Result<[SocketAddress], ResolveFailure>

    private let answers: Mailbox<Answer>

    /// Begins to look a name up.
    ///
    /// The thread ends with the resolver's answer, whether or not it is still waited for. The
    /// resolver's own time-outs bound that.
    init(of host: String, port: UInt16) throws(SystemError) {
        // There is one answer.
        let answers = try Mailbox<Answer>(countMax: 1)
        self.answers = answers
        try Thread {
            nameThread("podwire-resolve")
            do throws(ResolveFailure) {
                answers.send(.success(try resolve(host, port: port)))
            } catch {
                answers.send(.failure(error))
            }
        }.detach()
    }

    /// The descriptor for a poll set: readable when there is an answer.
    var fileDescriptor: CInt { answers.fileDescriptor }

    /// Takes the answer; nil until there is one.
    func takeAnswer() -> Answer? { answers.takeAll().first }
}
