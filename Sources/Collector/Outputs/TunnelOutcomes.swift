import Linux
import Time

/// What became of the packets that were sent into a tunnel, and what a person has to be told of it.
struct TunnelOutcomes {
    private(set) var packetCount: UInt64 = 0
    /// Bytes of datagrams, with the tunnel's header.
    private(set) var byteCount: UInt64 = 0
    /// Packets that were not sent, by the reasons below.
    private var lossCounts = [UInt64](repeating: 0, count: Reason.allCases.count)
    /// Failures that nobody has been told of, and when each kind was told last.
    private var untold: [Errno: UInt64] = [:]
    private var toldAt: [Errno: MonotonicTime] = [:]
    /// Whether anything failed since this was asked.
    private var hasFailed = false

    /// Why a packet was not sent.
    private enum Reason: Int, CaseIterable {
        case queueFull, deviceFull, unreachable, tooLong, notPermitted, other

        var text: String {
            switch self {
            case .queueFull: "queue full"
            case .deviceFull: "device full"
            case .unreachable: "receiver unreachable"
            case .tooLong: "too long for the route"
            case .notPermitted: "not permitted"
            case .other: "refused by the kernel"
            }
        }

        init(_ errno: Errno) {
            switch errno {
            case .noBufferSpace, .noMemory: self = .deviceFull
            case .networkUnreachable, .hostUnreachable, .networkDown, .connectionRefused,
                .noSuchDevice:
                self = .unreachable
            case .messageTooLong: self = .tooLong
            case .notPermitted, .permissionDenied: self = .notPermitted
            default: self = .other
            }
        }
    }

    /// The time in which a kind of failure is told once.
    private static let tellingInterval = Duration.seconds(60)

    /// Counts what the kernel did.
    mutating func add(_ event: DatagramFan.Event) {
        switch event {
        case .sent(let count, let byteCount):
            packetCount &+= UInt64(count)
            self.byteCount &+= UInt64(byteCount)
        // What waits is counted if it is dropped.
        case .blocked: break
        case .reported(let errno): fail(errno)
        case .dropped(let errno, _):
            lossCounts[Reason(errno).rawValue] &+= 1
            fail(errno)
        }
    }

    private mutating func fail(_ errno: Errno) {
        hasFailed = true
        untold[errno, default: 0] &+= 1
    }

    /// Counts packets for which the queue had no room.
    mutating func addQueueFull(count: Int) {
        lossCounts[Reason.queueFull.rawValue] &+= UInt64(count)
    }

    /// Whether anything has failed since this was called last.
    mutating func takeFailure() -> Bool {
        defer { hasFailed = false }
        return hasFailed
    }

    /// Takes the failures to tell: of each kind all since the last time, at most once a minute.
    mutating func takeNews(now: MonotonicTime) -> [(errno: Errno, count: UInt64)] {
        guard !untold.isEmpty else { return [] }
        let due = untold.filter { errno, _ in
            toldAt[errno].map { now - $0 >= Self.tellingInterval } ?? true
        }
        for errno in due.keys {
            untold[errno] = nil
            toldAt[errno] = now
        }
        return due.sorted { $0.key.rawValue < $1.key.rawValue }.map { ($0.key, $0.value) }
    }

    /// Adds the counts to those of a sink.
    func add(to counts: inout OutputCounts) {
        (counts.packetCount, counts.byteCount) = (packetCount, byteCount)
        for reason in Reason.allCases { counts.addLoss(reason.text, lossCounts[reason.rawValue]) }
    }
}
