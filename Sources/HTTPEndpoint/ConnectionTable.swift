import NIOCore

/// The connections that there are, in the order in which they have spoken last. It belongs to the event
/// loop.
final class Connections {
    private let answer: @Sendable (String) -> Response?
    private var conversations: [Conversation] = []

    /// A scraper or two, the kubelet's probes and a few people, each with some.
    static let countMax = 32

    init(_ answer: @escaping @Sendable (String) -> Response?) { self.answer = answer }

    func answer(_ path: String) -> Response {
        answer(path) ?? Response("there is no such page; / lists those there are\n", .notFound)
    }

    /// Takes one in. If they are too many then, the one has to go that waits for a request and has been
    /// silent for longest, or else any that has: each new one is served.
    func enter(_ conversation: Conversation) {
        if conversations.count >= Self.countMax {
            let index = conversations.firstIndex(where: \.isListening) ?? 0
            conversations.remove(at: index).makeWay()
        }
        conversations.append(conversation)
    }

    /// Takes note that one has asked for something.
    func hasSpoken(_ conversation: Conversation) {
        leave(conversation)
        conversations.append(conversation)
    }

    func leave(_ conversation: Conversation) {
        conversations.removeAll { $0 === conversation }
    }
}
