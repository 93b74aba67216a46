import Addressing
import Glibc
import Linux
import Synchronization

/// How many clients there are, so that none keeps the others out.
///
/// Those that have not logged in are counted by themselves, and never refuse anybody else entry: a few
/// are let in from each address, and when there are too many the one that has been silent for longest
/// has to go.
final class ClientSlots: Sendable {
    private let state = Mutex(State())
    /// Raised when a client has gone.
    private let left: Event

    /// Clients that have logged in: each may have a capture, with the memory that settings give one.
    static let clientCountMax = 16
    /// Those that have not, and of them those from one address.
    static let strangerCountMax = 16
    static let strangerCountMaxPerAddress = 4

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var nextID: UInt64 = 0

        var strangers: [(key: UInt64, value: Entry)] { entries.filter { !$0.value.isLoggedIn } }
        var clientCount: Int { entries.values.count { $0.isLoggedIn } }
    }

    private struct Entry {
        let address: IPAddress
        /// The number of the slot's event.
        let eviction: CInt
        var isLoggedIn = false
    }

    init() throws(SystemError) { left = try Event() }

    /// Lets a peer in, if need be for another one. Nil if there are too many from its address.
    func admit(_ address: IPAddress) throws(SystemError) -> ClientSlot? {
        let evicted = try Event()
        let number = evicted.fileDescriptor
        let id: UInt64? = state.withLock { state in
            let strangers = state.strangers
            guard
                strangers.count(where: { $0.value.address == address })
                    < Self.strangerCountMaxPerAddress
            else { return nil }
            if strangers.count >= Self.strangerCountMax,
                let oldest = strangers.min(by: { $0.key < $1.key })
            {
                Event.raise(oldest.value.eviction)
            }
            defer { state.nextID += 1 }
            state.entries[state.nextID] = Entry(address: address, eviction: number)
            return state.nextID
        }
        guard let id else { return nil }
        return ClientSlot(self, id: id, evicted: evicted)
    }

    fileprivate func logIn(_ id: UInt64) -> Bool {
        state.withLock { state in
            guard state.clientCount < Self.clientCountMax else { return false }
            state.entries[id]?.isLoggedIn = true
            return true
        }
    }

    fileprivate func leave(_ id: UInt64) {
        state.withLock { $0.entries[id] = nil }
        left.raise()
    }

    /// Whether no more can log in.
    var isFull: Bool { state.withLock { $0.clientCount >= Self.clientCountMax } }

    /// Waits until all have gone.
    func waitForNone() {
        while state.withLock({ !$0.entries.isEmpty }) {
            _ = try? poll([(left.fileDescriptor, .readable)], milliseconds: -1)
            left.lower()
        }
    }
}

/// One peer's place among the clients, for as long as this value is there.
struct ClientSlot: ~Copyable, Sendable {
    private let slots: ClientSlots
    private let id: UInt64
    private let evicted: Event

    fileprivate init(_ slots: ClientSlots, id: UInt64, evicted: consuming Event) {
        (self.slots, self.id) = (slots, id)
        self.evicted = evicted
    }

    deinit { slots.leave(id) }

    /// For a poll set: readable when the peer has to make room for another.
    var evictedNumber: CInt { evicted.fileDescriptor }

    var isFull: Bool { slots.isFull }

    /// Takes note that the peer has logged in. Answers false if there are too many who have.
    func logIn() -> Bool { slots.logIn(id) }
}
