import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import Synchronization
import Time

/// What the ring manager and the session have the forwarder do.
extension Forwarder {
    /// Carries out what the ring manager says.
    ///
    /// It throws only if the poller does, or the kernel's counts cannot be had.
    func obey(_ command: RingCommand) throws(SystemError) {
        let now = MonotonicTime.now
        switch command {
        case .add(let edge, let ring, let program):
            guard let ring = ring.take() else { return }
            try add(
                CapturedEdge(
                    edge, ring, program, sessionCount: outlets.count, silenceTime: silenceTime,
                    now: now))
        case .follow(let snapshot): follow(snapshot)
        case .openShared(let ring):
            guard let ring = ring.take() else { return }
            try poller.add(ring.fileDescriptor, as: Key.sharedRing)
            let sharedRing = SharedRing(ring, sessionCount: outlets.count)
            open(sharedRing.counters, SharedRing.name, SharedRing.incarnation)
            self.sharedRing = sharedRing
        case .share(let edges):
            do throws(Ring.Failure) {
                try sharedRing?.set(edges, now: now)
            } catch {
                counters.add(1, to: .programsNotReplaced)
            }
        case .remove(let incarnation):
            guard let edge = edges[incarnation] else { return }
            edge.beginDraining(now: now)
            closing.insert(incarnation)
        case .endWithEdge: beginLosingEdge()
        case .replace(let incarnation, let command):
            try advance(command, of: incarnation, now: now)
        }
    }

    private func add(_ edge: CapturedEdge) throws(SystemError) {
        try poller.add(edge.fileDescriptor, as: Key.firstEdge + edge.incarnation)
        edges[edge.incarnation] = edge
        noteRings()
        open(edge.counters, edge.edge.name, edge.incarnation)
        adopt(edge)
    }

    private func open(_ tally: EdgeTally, _ name: String, _ incarnation: UInt64) {
        for (outlet, own) in zip(outlets, tally.own) {
            outlet.counters.open(
                EdgeCounters(name: name, own: own, common: tally.common), incarnation)
        }
    }

    private func follow(_ snapshot: NodePublisher.Snapshot) {
        let version = programs.version
        programs.set(snapshot.rule)
        pipeline.set(snapshot.rule, snapshot.localEdges)
        let isOtherRule = programs.version != version
        if isOtherRule { for edge in edges.values { edge.noteOtherRule() } }
        for place in snapshot.edges {
            guard let edge = edges[place.incarnation], edge.isKnownOtherwise(as: place) else {
                continue
            }
            edge.move(to: place)
            adopt(edge)
        }
        // What is a node or a sensor concerns all edges, and at once.
        if isOtherRule { for edge in edges.values { adopt(edge) } }
    }
}

/// Programs.
extension Forwarder {
    /// Installs the plan's programs, edge by edge, each between two packets.
    ///
    /// If the kernel refuses a program, the programs before it stay replaced, so the caller puts the
    /// old plan back.
    func adoptPrograms() throws(SystemError) {
        do throws(Ring.Failure) {
            for edge in edges.values { try edge.adopt(&programs) }
        } catch {
            throw error.systemError
        }
    }

    /// Gives an edge the program that the plan makes now.
    ///
    /// If the kernel refuses it the old one stays, and user space corrects what it can.
    func adopt(_ edge: CapturedEdge) {
        do throws(Ring.Failure) {
            try edge.adopt(&programs)
        } catch {
            counters.add(1, to: .programsNotReplaced)
        }
    }

    /// Gives the programs what has been learned about services and fronts.
    ///
    /// It replaces the programs of a few edges at a time, or all at once if they drop too much.
    func replacePrograms(_ now: MonotonicTime) {
        let dropsTooMuch = dropList.refresh(
            at: pipeline.slowPath.services, pipeline.slowPath.fronts, edgeCount: edges.count,
            areSelecting: programs.areSelecting, now: now)
        programs.set(dropList.services, fronts: dropList.fronts)
        programs.set(pipeline.floodedAddresses(now: now))
        let cutsTooMuch = pipeline.refreshCutoff(edgeCount: edges.count, now: now)
        programs.set(pipeline.cutFlows)
        guard programs.version != installedVersion else { return }
        let stale = edges.values.lazy.filter { [version = programs.version] edge in
            edge.needsProgram(version)
        }
        let some = Array(
            stale.prefix(
                dropsTooMuch || cutsTooMuch ? edges.count : ServiceDropList.edgeCountPerTurn))
        for edge in some { adopt(edge) }
        guard some.count < ServiceDropList.edgeCountPerTurn else { return }
        installedVersion = programs.version
        dropList.markInstalled()
    }
}

/// Silent edges.
extension Forwarder {
    /// How often edges are looked at.
    private static let silenceInterval = Duration.seconds(5)

    /// Has the rings of edges that have fallen silent replaced by slow ones.
    func lookForSilence(_ now: MonotonicTime) {
        guard now >= silencesAt else { return }
        silencesAt = now + min(Self.silenceInterval, silenceTime)
        for edge in edges.values where edge.takeSilence(now: now) {
            manager.post(.pace(.slow, incarnation: edge.incarnation))
        }
    }
}

/// Closing rings.
extension Forwarder {
    /// Takes rings that are being closed or replaced one step further.
    func advanceClosing() throws(SendFailure) {
        for incarnation in closing {
            guard !isQueueFull else { return try letGoOfPods() }
            guard let edge = edges[incarnation] else {
                closing.remove(incarnation)
                continue
            }
            if try !advanceClosing(edge) { closing.remove(incarnation) }
        }
    }

    /// - Returns: Whether the edge's ring must be looked at again.
    private func advanceClosing(_ edge: CapturedEdge) throws(SendFailure) -> Bool {
        var isOver = try isOver(edge)
        if edge.isBeingSucceeded || isOver && edge.hasNewRing {
            // The new ring has whatever comes meanwhile. If it is not known to have everything of an
            // edge that is gone, it may have some.
            try drain(edge, edge.ring?.blockCount ?? 0)
            let now = MonotonicTime.now
            isOver = try self.isOver(edge)
            guard !isQueueFull, edge.isSucceeded(now: now) || isOver else { return true }
            try SendFailure.rethrowing { () throws(SystemError) in try replaceRing(of: edge) }
            return edge.isLeaving || edge.isLagging
        }
        if edge.isLagging {
            try SendFailure.rethrowing { () throws(SystemError) in try endLag(of: edge) }
            if edge.isLagging, !isOver { return true }
        }
        guard isOver else { return edge.isLeaving }
        try drain(edge)
        guard !isQueueFull else { return true }
        try SendFailure.rethrowing { () throws(SystemError) in try close(edge) }
        return false
    }

    /// Whether nothing more comes once the edge's ring has been read.
    func isOver(_ edge: CapturedEdge) throws(SendFailure) -> Bool {
        let now = MonotonicTime.now
        if edge.awaitsCounts(now: now) {
            try SendFailure.rethrowing { () throws(SystemError) in try count(edge) }
        }
        return edge.isOver(now: now)
    }

    /// Abandons what is in the rings of pods that are gone, while the queue has no room for it.
    ///
    /// A sensor that stalls must not keep the pods' network namespaces.
    func letGoOfPods() throws(SendFailure) {
        let now = MonotonicTime.now
        for incarnation in closing {
            guard let edge = edges[incarnation], edge.mustLetGo(now: now) else { continue }
            abandonRest(of: edge)
            try SendFailure.rethrowing { () throws(SystemError) in try close(edge) }
            closing.remove(incarnation)
        }
    }

    /// Lets go of the last ring of an edge that is gone, from which nothing comes any more.
    private func close(_ edge: CapturedEdge) throws(SystemError) {
        try count(edge)
        try poller.remove(edge.fileDescriptor)
        edges[edge.incarnation] = nil
        noteRings()
        write { $0.releaseHeld(countedBy: edge.counters, into: &$1, now: .now) }
        close(edge.counters, edge.edge.name, edge.incarnation)
        manager.post(.closed(incarnation: edge.incarnation, edge.close()))
    }
}

/// Counting.
extension Forwarder {
    /// Adds to the counters what the kernel has counted since the last time.
    func countKernel(_ now: MonotonicTime) throws(SystemError) {
        countsAt = now + (pressure == nil ? Self.countInterval : Self.pressureCountInterval)
        for outlet in outlets { outlet.sender.countSent() }
        for edge in edges.values { try count(edge) }
        if let sharedRing {
            count(try sharedRing.ring.takeStatistics(), sharedRing.counters)
        }
    }

    /// Adds to the counters what the kernel has counted at an edge since the last time.
    func count(_ edge: CapturedEdge) throws(SystemError) {
        guard let statistics = try edge.takeStatistics() else { return }
        count(statistics, edge.counters)
        if statistics.dropped > 0, pressure == nil {
            manager.post(.pressed(incarnation: edge.incarnation, .fill))
        }
    }

    func count(_ statistics: Ring.Statistics, _ tally: EdgeTally) {
        for frames in [tally.common, counters.frames] {
            frames.add(matched: Int(statistics.received))
            frames.add(Int(statistics.dropped), to: .droppedByRing)
        }
    }

    /// Checks the counters of an edge from which nothing comes any more.
    func close(_ tally: EdgeTally, _ name: String, _ incarnation: UInt64) {
        for outlet in outlets { outlet.counters.close(incarnation) }
        let counts = tally.common.counts
        var metadata = counts.metadata
        metadata["edge"] = "\(name)"
        guard counts.imbalance != 0 else {
            return logger.debug("edge accounted for", metadata: metadata)
        }
        counters.add(Int(counts.imbalance.magnitude), to: .framesUnaccounted)
        metadata["unaccounted"] = .number(counts.imbalance)
        logger.error(
            "the frames of an edge do not add up: this is a bug in podwire, please report it",
            metadata: metadata)
    }
}
