import Edges
import Glibc
import Linux
import Log
import Logging
import Observation
import PacketRing
import Synchronization

/// What the keeper of a capture's rings tells its forwarder.
enum RingCommand: Sendable {
    /// A ring is open at a place.
    case add(Edge, TransferBox<Ring>, EdgeProgram)
    /// The node is as it is now.
    case follow(NodePublisher.Snapshot)
    /// A ring for edges that have none of their own.
    case openCrowd(TransferBox<Ring>)
    /// Which edges those are.
    case crowd([Edge])
    /// An edge is gone: forward what its ring holds, and close it.
    case remove(incarnation: UInt64)
    /// The edge that is all of this capture is gone, and comes no more.
    case end
    /// A ring that is to follow the one there is, which gets no packets yet, and the memory to note
    /// what both have.
    case prepare(incarnation: UInt64, TransferBox<Ring>, TransferBox<PacketSet>)
    /// The other ring gets all packets that come from now on.
    case succeed(incarnation: UInt64)
    /// The other ring is of no use.
    case abandon(incarnation: UInt64)
}

/// What a forwarder tells the keeper of its rings.
enum RingEvent: Sendable {
    /// A ring is close to full.
    case pressed(incarnation: UInt64)
    /// The ring that is to follow lets in what the present one does.
    case prepared(incarnation: UInt64)
    /// The present ring stays, and the one that was to follow is done with.
    case kept(incarnation: UInt64, TransferBox<Ring>?)
    /// The present ring, or the one before it, is done with.
    case done(incarnation: UInt64, wasFollowed: Bool, TransferBox<Ring>?)

    /// What a note says twice it says once.
    func isSame(as other: RingEvent) -> Bool {
        switch (self, other) {
        case (.pressed(let incarnation), .pressed(let otherIncarnation)):
            incarnation == otherIncarnation
        default: false
        }
    }
}

extension Forwarder {
    /// Carries out what the keeper says. Fails only if the poller does.
    func obey(_ order: RingCommand) throws(SystemError) {
        switch order {
        case .add(let place, let ring, let program):
            guard let ring = ring.take() else { return }
            try add(CapturedEdge(place, ring, program))
        case .follow(let snapshot): follow(snapshot)
        case .openCrowd(let ring):
            guard let ring = ring.take() else { return }
            try poller.add(ring.fileDescriptor, as: Key.crowd)
            let crowd = SharedRing(ring)
            open(crowd.account, SharedRing.name, SharedRing.incarnation)
            self.crowd = crowd
        case .crowd(let places):
            do throws(Ring.Failure) {
                try crowd?.set(places)
            } catch {
                counters.add(1, to: .programsNotReplaced)
            }
        case .remove(let incarnation):
            taps[incarnation]?.end()
            closeSoon()
        case .end: hasLostItsEdge = true
        case .prepare(let incarnation, let ring, let set):
            guard let ring = ring.take(), let set = set.take() else { return }
            prepare(ring, set, incarnation)
        case .abandon(let incarnation): if let tap = taps[incarnation] { keepRing(of: tap) }
        case .succeed(let incarnation):
            guard let tap = taps[incarnation] else { return }
            try count(tap)
            tap.isFollowed()
            closeSoon()
        }
    }

    private func add(_ tap: CapturedEdge) throws(SystemError) {
        try poller.add(tap.number, as: Key.firstTap + tap.place.incarnation)
        taps[tap.place.incarnation] = tap
        open(tap.account, tap.place.name, tap.place.incarnation)
        adopt(tap)
    }

    private func open(_ account: FrameCounters, _ name: String, _ incarnation: UInt64) {
        counters.open(EdgeCounters(name: name, frames: account), incarnation)
    }

    private func follow(_ snapshot: NodePublisher.Snapshot) {
        let version = programs.version
        programs.set(snapshot.rule)
        pipeline.set(snapshot.rule)
        for place in snapshot.edges {
            guard let tap = taps[place.incarnation], tap.place != place else { continue }
            tap.isMoved(to: place)
            adopt(tap)
        }
        // What is a node or a sensor concerns all edges, and at once.
        if programs.version != version { for tap in taps.values { adopt(tap) } }
    }

    /// Gives a tap the program of now. Where the kernel refuses it the old one stays, and user space
    /// puts right what it can.
    func adopt(_ tap: CapturedEdge) {
        do throws(Ring.Failure) {
            try tap.adopt(&programs)
        } catch {
            counters.add(1, to: .programsNotReplaced)
        }
    }

    /// Closes rings that have been drained for the last time. Answers whether there are more to
    /// come.
    func closeRings() throws -> Bool {
        var isWaiting = false
        for tap in taps.values where tap.endedAt != nil || tap.hasSuccessor {
            // A successor that is not known to have the packets of an edge that is gone may have some.
            if tap.isBeingSucceeded || tap.isOver && tap.hasSuccessor {
                // What comes meanwhile is in the successor, too.
                try drain(tap, blockCountMax: tap.ring?.blockCount ?? 0)
                guard !isFull else { return true }
                guard tap.isSucceeded || tap.isOver else {
                    isWaiting = true
                    continue
                }
                try replaceRing(of: tap)
                if tap.endedAt != nil { isWaiting = true }
            } else if tap.isOver {
                try drain(tap)
                guard !isFull else { return true }
                try count(tap)
                try poller.remove(tap.number)
                taps[tap.place.incarnation] = nil
                pipeline.settleHeld(of: tap.account)
                close(tap.account, tap.place.name, tap.place.incarnation)
                notes(
                    .done(incarnation: tap.place.incarnation, wasFollowed: false, tap.surrender()))
            } else if tap.endedAt != nil {
                isWaiting = true
            }
        }
        return isWaiting
    }

    /// Forwards all that an edge has, a ring that was to follow included.
    func drainForGood(_ tap: CapturedEdge) throws {
        try drain(tap)
        guard tap.hasSuccessor, !isFull else { return }
        try replaceRing(of: tap)
        try drain(tap)
    }

    /// Adds to the counters what the kernel has counted at an edge since the last time.
    func count(_ tap: CapturedEdge) throws(SystemError) {
        guard let statistics = try tap.takeStatistics() else { return }
        count(statistics, tap.account)
        if statistics.dropped > 0 { notes(.pressed(incarnation: tap.place.incarnation)) }
    }

    func count(_ statistics: Ring.Statistics, _ account: FrameCounters) {
        for account in [account, counters.frames] {
            account.add(matched: Int(statistics.received))
            account.add(Int(statistics.dropped), to: .droppedByRing)
        }
    }

    /// Checks the account of an edge from which nothing comes any more.
    func close(_ account: FrameCounters, _ name: String, _ incarnation: UInt64) {
        counters.close(incarnation)
        let counts = account.counts
        var metadata = counts.metadata
        metadata["edge"] = "\(name)"
        guard counts.inFlight != 0 else {
            return logger.debug("edge accounted for", metadata: metadata)
        }
        counters.add(Int(counts.inFlight.magnitude), to: .framesUnaccounted)
        metadata["unaccounted"] = .number(counts.inFlight)
        logger.error(
            "the frames of an edge do not add up, which is a fault of podwire's: please report it",
            metadata: metadata)
    }
}
