package import Addressing
package import Linux
package import Security
import Settings
import Synchronization
package import Time

/// The places of the clients that are connected, and the events that tell clients to go.
package final class ClientSlots: Sendable {
    private let state = Mutex(State())
    /// Raised when a client has gone.
    private let left: Event

    /// The bounds for clients.
    ///
    /// A login takes a client well below a second, so 16 pending ones are enough for any number of
    /// people. A client that is evicted goes within milliseconds, or when its password is checked,
    /// for which few can wait. A collector needs two connections at a time, and four leave room for
    /// two behind one address. They have 3 s, since a password may wait for others to be checked.
    /// A /64 has half of all places. All together cost 96 threads at most.
    package static let limits = Admission.Limits(
        loggedInCountMax: PassiveSettings.clientCountMax, pendingCountMax: 16, leavingCountMax: 16,
        countMaxPerAddress: 4, countMaxPerNetwork: 8, patience: .seconds(3))

    private struct State {
        var admission = Admission(limits)
        /// The descriptor of each client's event.
        var evictions: [Admission.ID: CInt] = [:]
    }

    /// Creates slots without clients.
    package init() throws(SystemError) { left = try Event() }

    /// What has become of a client that wants a slot.
    package enum Outcome: ~Copyable {
        case admitted(ClientSlot, isOtherEvicted: Bool)
        case refused(Admission.Refusal)
    }

    /// Admits a client, and evicts another one if need be.
    ///
    /// - Throws: If there is no descriptor for the client's event.
    package func admit(
        _ address: IPAddress, isKnown: Bool = false, now: MonotonicTime
    ) throws(SystemError) -> Outcome {
        let evicted = try Event()
        let eviction = evicted.fileDescriptor
        let decision = state.withLock { state in
            let decision = state.admission.admit(address, isKnown: isKnown, now: now)
            if case .admitted(let id, let other) = decision {
                state.evictions[id] = eviction
                if let other, let descriptor = state.evictions[other] { Event.raise(descriptor) }
            }
            return decision
        }
        switch decision {
        case .admitted(let id, let other):
            return .admitted(
                ClientSlot(self, id: id, evicted: evicted), isOtherEvicted: other != nil)
        case .refused(let refusal): return .refused(refusal)
        }
    }

    /// Lowers `event`, since a client that was evicted before its login stays.
    fileprivate func logIn(_ id: Admission.ID, _ event: borrowing Event) -> ClientSlot.LogInOutcome
    {
        state.withLock { state in
            guard case .admitted(let other) = state.admission.logInIdle(id) else { return .refused }
            event.lower()
            if let other, let descriptor = state.evictions[other] { Event.raise(descriptor) }
            return .admitted(isOtherEvicted: other != nil)
        }
    }

    fileprivate func canLogIn(_ id: Admission.ID) -> Bool {
        state.withLock { $0.admission.canLogInIdle(id) }
    }

    fileprivate func setIdle(_ isIdle: Bool, _ id: Admission.ID) {
        state.withLock { $0.admission.setIdle(isIdle, id) }
    }

    fileprivate func leave(_ id: Admission.ID) {
        state.withLock { state in
            state.admission.remove(id)
            state.evictions[id] = nil
        }
        left.raise()
    }

    /// Waits until all clients have gone.
    func waitForNone() {
        while state.withLock({ $0.admission.count > 0 }) {
            _ = try? poll([(left.fileDescriptor, .readable)], milliseconds: -1)
            left.lower()
        }
    }
}

/// The slot of one client, for as long as this value exists.
package struct ClientSlot: ~Copyable, Sendable {
    private let slots: ClientSlots
    private let id: Admission.ID
    private let evicted: Event

    fileprivate init(_ slots: ClientSlots, id: Admission.ID, evicted: consuming Event) {
        (self.slots, self.id) = (slots, id)
        self.evicted = evicted
    }

    deinit { slots.leave(id) }

    /// A descriptor for a poll set: readable when the client has to go.
    package var evictionDescriptor: CInt { evicted.fileDescriptor }

    /// What has become of a client that logs in.
    package enum LogInOutcome: Equatable {
        case admitted(isOtherEvicted: Bool)
        /// Too many clients are logged in already.
        case refused
    }

    /// Whether the client would find a place now if it logged in.
    package var canLogIn: Bool { slots.canLogIn(id) }

    /// Records that the client logged in, and evicts one that captures nothing if need be.
    package func logIn() -> LogInOutcome { slots.logIn(id, evicted) }

    /// Records that the client's capture has begun, or ended.
    ///
    /// A client without a capture may have to make room for another one.
    package func setCapturing(_ isCapturing: Bool) { slots.setIdle(!isCapturing, id) }
}
