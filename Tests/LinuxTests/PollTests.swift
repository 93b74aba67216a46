import Linux
import Testing
import Time

@Suite("Waiting for descriptors")
struct PollTests {
    private enum Source: Hashable { case stop, work, absent }

    @Test("says by key what is ready")
    func keys() throws {
        let stop = try Event()
        let work = try Event()
        stop.raise()
        func look() throws -> ReadyDescriptors<Source> {
            try poll(
                [
                    .stop: (stop.fileDescriptor, .readable),
                    .work: (work.fileDescriptor, .readable.union(.writable)),
                    .absent: (-1, .readable),
                ], until: .zero)
        }
        let ready = try look()
        #expect(ready[.stop] == .readable && ready[.work] == .writable && ready[.absent] == [])
        #expect(Set(ready.keys) == [.stop, .work])
        work.raise()
        stop.lower()
        #expect(try look()[.work] == [.readable, .writable])
        #expect(try look()[.stop] == [])
    }

    @Test("ends when the time has come, and not before")
    func deadline() throws {
        let event = try Event()
        let begin = MonotonicTime.now
        let deadline = begin + .milliseconds(20)
        let ready = try poll([Source.work: (event.fileDescriptor, .readable)], until: deadline)
        #expect(ready.isEmpty && MonotonicTime.now >= deadline)
        event.raise()
        let again = try poll([Source.work: (event.fileDescriptor, .readable)], until: nil)
        #expect(again[.work] == .readable)
        sleep(until: begin)
        sleep(until: deadline + .milliseconds(5))
        #expect(MonotonicTime.now >= deadline + .milliseconds(5))
    }
}

@Suite("A poller")
struct PollerTests {
    private enum Key: UInt64, PollerKey { case stop, work }

    /// A key that may carry a number, as that of one among many interfaces.
    private enum NumberedKey: PollerKey, Equatable {
        case stop
        case ring(UInt64)

        init(pollerKey: UInt64) { self = pollerKey == 0 ? .stop : .ring(pollerKey - 1) }

        var pollerKey: UInt64 {
            switch self {
            case .stop: 0
            case .ring(let number): number + 1
            }
        }
    }

    /// The keys that are ready, without waiting.
    private static func ready<Key>(_ poller: inout Poller<Key>) throws -> [Key] {
        let count = try poller.wait(until: .zero)
        return (0..<count).map { poller.key(at: $0) }
    }

    @Test("knows what is ready by its key, as long as it is in the set")
    func keys() throws {
        let stop = try Event()
        let work = try Event()
        var poller = try Poller<Key>()
        try poller.add(stop.fileDescriptor, as: .stop)
        try poller.add(work.fileDescriptor, as: .work)
        #expect(try Self.ready(&poller) == [])
        work.raise()
        #expect(try Self.ready(&poller) == [.work])
        try poller.remove(work.fileDescriptor)
        #expect(try Self.ready(&poller) == [])
        // An event can always be written.
        try poller.setInterest(of: stop.fileDescriptor, as: .stop, to: [.readable, .writable])
        #expect(try Self.ready(&poller) == [.stop])
    }

    @Test("keeps keys that carry a number")
    func numbers() throws {
        let event = try Event()
        var poller = try Poller<NumberedKey>()
        try poller.add(event.fileDescriptor, as: .ring(4711))
        event.raise()
        #expect(try Self.ready(&poller) == [.ring(4711)])
    }
}
