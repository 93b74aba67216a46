import NIOCore

/// The connections that there are, in the order in which they came. It belongs to the event loop.
final class Connections {
    private let answer: @Sendable (String) -> Response?
    private var conversations: [Conversation] = []

    /// A scraper or two, the kubelet's probes and a few people, each with some.
    static let countMax = 32

    init(_ answer: @escaping @Sendable (String) -> Response?) { self.answer = answer }

    func answer(_ path: String) -> Response {
        answer(path) ?? Response("there is no such page; / lists those there are\n", .notFound)
    }

    /// Takes one in. If they are too many then, the one has to go that has been silent for longest, or
    /// else the oldest: each new one is served.
    func enter(_ conversation: Conversation) {
        if conversations.count >= Self.countMax {
            (conversations.first(where: \.isListening) ?? conversations[0]).makeWay()
        }
        conversations.append(conversation)
    }

    func leave(_ conversation: Conversation) {
        conversations.removeAll { $0 === conversation }
    }
}
