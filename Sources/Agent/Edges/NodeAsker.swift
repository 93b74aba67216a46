import Glibc
import Linux
import Synchronization

/// Asks questions about the node on a thread of its own, so that no new edge has to wait for an
/// answer about another one.
final class NodeAsker: Sendable {
    private let state = Mutex(State())
    private let asked: Event
    private let answered: Event

    private struct State {
        /// In order, each once.
        var questions: [NodeQuestion] = []
        var answers: [NodeAnswer] = []
        var isEnding = false

        /// What comes while a question is being answered is a new one.
        mutating func takeQuestion() -> NodeQuestion? {
            guard !isEnding, !questions.isEmpty else { return nil }
            return questions.removeFirst()
        }
    }

    private static let retryMilliseconds: CInt = 100

    init(_ pulses: Pulses) throws(SystemError) {
        asked = try Event()
        answered = try Event()
        let reader = TransferBox(try NodeReader())
        try Thread { [self] in
            nameThread("podwire-pods")
            if var reader = reader.take() {
                run(&reader, pulses.begin("the thread that asks pods"))
            }
        }.detach()
    }

    /// For a poll set: readable when there are answers.
    var number: CInt { answered.fileDescriptor }

    /// Asks, unless the same is about to be asked. Never waits.
    func ask(_ questions: [NodeQuestion]) {
        guard !questions.isEmpty else { return }
        state.withLock { state in
            let waiting = Set(state.questions)
            state.questions += questions.filter { !waiting.contains($0) }
        }
        asked.raise()
    }

    func takeAnswers() -> [NodeAnswer] {
        answered.lower()
        return state.withLock { state in
            defer { state.answers = [] }
            return state.answers
        }
    }

    func end() {
        state.withLock { $0.isEnding = true }
        asked.raise()
    }

    private func run(_ reader: inout NodeReader, _ pulse: consuming Pulses.Pulse) {
        while true {
            pulse.beat()
            _ = try? poll(
                [(asked.fileDescriptor, .readable)], milliseconds: Pulses.waitMilliseconds)
            asked.lower()
            while let question = state.withLock({ $0.takeQuestion() }) {
                pulse.beat()
                if let answer = try? reader.answer(question) {
                    state.withLock { $0.answers.append(answer) }
                    answered.raise()
                } else if question == .own {
                    // Pods are asked about again anyway.
                    _ = try? poll([], milliseconds: Self.retryMilliseconds)
                    ask([question])
                }
            }
            if state.withLock({ $0.isEnding }) { return }
        }
    }
}
