package import Addressing
package import Linux
import Settings
import Synchronization

/// The clients that are connected, bounded so that none keeps the others out.
///
/// Clients that have not logged in never keep others from logging in: a few are admitted from each
/// address, and if there are too many the one that has been silent for longest is evicted.
package final class ClientSlots: Sendable {
    private let state = Mutex(State())
    /// Raised when a client has gone.
    private let left: Event

    /// The most clients that have not logged in.
    package static let strangerCountMax = 16
    /// The most clients from one address that have not logged in.
    package static let strangerCountMaxPerAddress = 4

    private struct State {
        var entries: [UInt64: Entry] = [:]
        var nextID: UInt64 = 0

        var strangers: [(key: UInt64, value: Entry)] { entries.filter { !$0.value.isLoggedIn } }
        var isFull: Bool {
            entries.values.count { $0.isLoggedIn } >= PassiveSettings.clientCountMax
        }
    }

    private struct Entry {
        let address: IPAddress
        /// The descriptor of the slot's event.
        let eviction: CInt
        var isLoggedIn = false
    }

    /// Creates slots without clients.
    package init() throws(SystemError) { left = try Event() }

    /// Admits a client, and evicts another one if need be.
    ///
    /// - Returns: Nil if there are too many from this address.
    package func admit(_ address: IPAddress) throws(SystemError) -> ClientSlot? {
        let evicted = try Event()
        let eviction = evicted.fileDescriptor
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
            state.entries[state.nextID] = Entry(address: address, eviction: eviction)
            return state.nextID
        }
        guard let id else { return nil }
        return ClientSlot(self, id: id, evicted: evicted)
    }

    fileprivate func logIn(_ id: UInt64) -> Bool {
        state.withLock { state in
            guard !state.isFull else { return false }
            state.entries[id]?.isLoggedIn = true
            return true
        }
    }

    fileprivate func leave(_ id: UInt64) {
        state.withLock { $0.entries[id] = nil }
        left.raise()
    }

    /// Whether no more clients can log in.
    package var isFull: Bool { state.withLock { $0.isFull } }

    /// Waits until all clients have gone.
    func waitForNone() {
        while state.withLock({ !$0.entries.isEmpty }) {
            _ = try? poll([(left.fileDescriptor, .readable)], milliseconds: -1)
            left.lower()
        }
    }
}

/// The slot of one client, for as long as this value exists.
package struct ClientSlot: ~Copyable, Sendable {
    private let slots: ClientSlots
    private let id: UInt64
    private let evicted: Event

    fileprivate init(_ slots: ClientSlots, id: UInt64, evicted: consuming Event) {
        (self.slots, self.id) = (slots, id)
        self.evicted = evicted
    }

    deinit { slots.leave(id) }

    /// A descriptor for a poll set: readable when the client is evicted.
    package var evictionDescriptor: CInt { evicted.fileDescriptor }

    var isFull: Bool { slots.isFull }

    /// Records that the client logged in.
    ///
    /// - Returns: False if too many clients are logged in already.
    package func logIn() -> Bool { slots.logIn(id) }
}
