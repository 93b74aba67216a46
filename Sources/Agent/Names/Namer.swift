import Glibc
import Linux
import Logging

/// Finds out what the pods behind a node's edges are called, as soon as their runtime has said so.
struct Namer: ~Copyable {
    private let reader: NameReader
    private var agenda = NameAgenda()
    /// When each edge came, by the wall clock; nil for those that were there at the beginning.
    private var cameAt: [UInt64: UInt64?]
    private let logger: Logger
    private var failureErrno: Errno?
    /// Whether there are names at all, as far as that is known.
    private(set) var isAvailable = false

    init(folder: String, _ node: Node, logger: Logger) throws(SystemError) {
        reader = try NameReader(folder: folder)
        cameAt = Dictionary(uniqueKeysWithValues: node.candidates.map { ($0.life, nil) })
        self.logger = logger
    }

    deinit { reader.end() }

    /// For a poll set: readable when there are names to take.
    var number: CInt { reader.number }

    /// When `follow` is to be called though nothing has changed; nil for never.
    var dueAt: UInt64? { agenda.dueAt }

    /// Takes the node as it is now, and has looked for what is due.
    mutating func follow(_ node: Node) {
        let wallClock = wallClockNanoseconds()
        var next: [UInt64: UInt64?] = [:]
        for candidate in node.candidates {
            next[candidate.life] = .some(cameAt[candidate.life] ?? wallClock)
        }
        cameAt = next
        let now = monotonicNanoseconds()
        agenda.follow(
            node.candidates.compactMap { $0.unnamed(cameAt: next[$0.life] ?? nil) }, now: now)
        reader.ask(agenda.takeDue(now: now))
    }

    /// The names that were found since the last time, by the edges' lives, for those edges that still are
    /// as they were when they were asked about: meanwhile one may have come to lead to another pod.
    mutating func takeNames(for node: Node) -> [UInt64: PodName] {
        let answer = reader.takeAnswer()
        guard answer.hasLooked else { return [:] }
        isAvailable = answer.failure == nil
        if let failure = answer.failure, failure.errno != failureErrno {
            // That there is no such folder is nothing that anybody need do something about.
            logger.log(
                level: failure.errno == .noSuchFileOrDirectory ? .debug : .notice,
                "pods go without their names",
                metadata: ["reason": "\(failure)"])
        }
        failureErrno = answer.failure?.errno
        var names: [UInt64: PodName] = [:]
        for candidate in node.candidates {
            guard let cameAt = cameAt[candidate.life],
                let edge = candidate.unnamed(cameAt: cameAt)
            else { continue }
            names[candidate.life] = answer.names[edge]
        }
        return names
    }
}
