import Glibc
import Linux
import Synchronization

/// Looks for pods' names on a thread of its own, so that nothing else waits for the disk.
final class PodNameThread: Sendable {
    private let state = Mutex(State())
    private let asked: Event
    private let answered: Event

    /// Between two looks. Whoever may change a pod's addresses can have it asked about as often as that.
    private static let pauseMilliseconds: CInt = 50

    private struct State {
        var question: [PodNameQuery] = []
        var answer = Answer()
        var isEnding = false
    }

    /// What was found since the last time.
    struct Answer: Sendable {
        /// By what was asked, which may no longer be so.
        var names: [PodNameQuery: PodName] = [:]
        /// Why there is nothing to be found, when it was looked for last.
        var failure: SystemError?
        /// Whether it was looked for at all.
        var hasLooked = false
    }

    /// The thread ends with `end`.
    init(folder: String) throws(SystemError) {
        asked = try Event()
        answered = try Event()
        try Thread { [self] in
            nameThread("podwire-names")
            run(AttachmentCache(folder: folder))
        }.detach()
    }

    /// For a poll set: readable when there is an answer.
    var number: CInt { answered.fileDescriptor }

    /// Has names looked for. Never waits.
    func ask(_ edges: [PodNameQuery]) {
        guard !edges.isEmpty else { return }
        state.withLock { state in
            let incarnations = Set(edges.map(\.incarnation))
            state.question = state.question.filter { !incarnations.contains($0.incarnation) } + edges
        }
        asked.raise()
    }

    func takeAnswer() -> Answer {
        answered.lower()
        return state.withLock { state in
            defer { state.answer = Answer() }
            return state.answer
        }
    }

    func end() {
        state.withLock { $0.isEnding = true }
        asked.raise()
    }

    private func run(_ cache: AttachmentCache) {
        var cache = cache
        while true {
            _ = try? poll([(asked.fileDescriptor, .readable)], milliseconds: -1)
            asked.lower()
            let (question, isEnding) = state.withLock { state in
                defer { state.question = [] }
                return (state.question, state.isEnding)
            }
            if isEnding { return }
            guard !question.isEmpty else { continue }
            let answer = Self.answer(question, &cache)
            state.withLock { state in
                state.answer.names.merge(answer.names) { $1 }
                state.answer.failure = answer.failure
                state.answer.hasLooked = true
            }
            answered.raise()
            _ = try? poll([], milliseconds: Self.pauseMilliseconds)
        }
    }

    private static func answer(
        _ question: [PodNameQuery], _ cache: inout AttachmentCache
    ) -> Answer {
        var answer = Answer()
        do throws(SystemError) {
            let attachments = try cache.read()
            for edge in question { answer.names[edge] = edge.name(among: attachments) }
        } catch {
            answer.failure = error
        }
        return answer
    }
}
