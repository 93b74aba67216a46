import BPF
import Edges
import Linux
import Log
import Logging
import Observation
import PacketRing
import RPCAP
import Settings
import Time

/// What the pipeline writes, and where it goes.
extension Forwarder {
    /// The capture's only outlet, into whose queue the pipeline writes; nil if there are several.
    var sole: Outlet? {
        // One that could not be given the first form is written for as if there were others.
        outlets.count == 1 && outlets[0].viewIndex == 0 ? outlets[0] : nil
    }

    /// Has the pipeline write packets, and hands them to the outlets.
    ///
    /// - Parameters:
    ///   - key: The edge whose block is read, if it is one.
    ///   - body: Writes into the queue that it is given.
    /// - Returns: What `body` returns.
    @inline(__always)
    func write<Result>(
        from key: UInt64 = 0, _ body: (inout Pipeline, inout ByteQueue) -> Result
    ) -> Result {
        guard let outlet = sole else {
            defer { distribute(from: key) }
            return body(&pipeline, &stage)
        }
        defer { settle(with: outlet) }
        return body(&pipeline, &outlet.sender.queue)
    }

    /// Forwards the packets of a block.
    ///
    /// - Returns: The number of packets in the block, and whether it is time to send.
    func forward(
        _ block: borrowing Block, from edge: EdgeContext, as key: UInt64, _ now: MonotonicTime
    ) -> (count: Int, isMuch: Bool) {
        // Each member is accessed once, which costs less than once for each packet.
        guard let outlet = sole else {
            let count = pipeline.forward(block, from: edge, into: &stage, now: now)
            distribute(from: key)
            return (count, outlets.contains { $0.sender.queue.byteCount >= Sender.sendByteCount })
        }
        let count = pipeline.forward(block, from: edge, into: &outlet.sender.queue, now: now)
        settle(with: outlet)
        return (count, outlet.sender.queue.byteCount >= Sender.sendByteCount)
    }

    /// Counts what has been written into the queue of the only outlet.
    private func settle(with outlet: Outlet) {
        outlet.lastNumber = pipeline.lastNumber
        guard !pipeline.ledger.entries.isEmpty else { return }
        for entry in pipeline.ledger.entries {
            entry.counts.addOwn(to: entry.tally.own[0])
            entry.counts.addOwn(to: outlet.counters)
        }
        pipeline.ledger.clear()
    }

    /// Copies what has been written into the queues of the outlets.
    private func distribute(from key: UInt64) {
        for (index, outlet) in outlets.enumerated() {
            if outlet.viewIndex == 0 {
                outlet.take(
                    stage.bytes, pipeline.ledger, last: pipeline.lastNumber, from: key, at: index,
                    edgeCount: edges.count)
            } else {
                let view = pipeline.sideViews[outlet.viewIndex - 1]
                outlet.take(
                    view.stage.bytes, view.ledger, last: view.writer.lastNumber, from: key,
                    at: index, edgeCount: edges.count)
            }
        }
        stage.removeLast(stage.byteCount)
        pipeline.ledger.clear()
        for view in pipeline.sideViews { view.clear() }
    }
}

/// Sending.
extension Forwarder {
    /// Sends what the sockets take, and has the poller report when they take more.
    func send(_ now: MonotonicTime) throws(SendFailure) {
        for outlet in outlets { try send(from: outlet, isLast: phase == .finishing, now) }
        for outlet in flushing { try send(from: outlet, isLast: true, now) }
    }

    private func send(
        from outlet: Outlet, isLast: Bool, _ now: MonotonicTime
    ) throws(SendFailure) {
        do throws(SendFailure) {
            try waitForSocket(of: outlet, try outlet.sender.send(isLast: isLast, now: now))
        } catch {
            try giveUp(outlet, because: error)
        }
    }

    /// Attends to the socket of an outlet, which may have ended meanwhile.
    func attendToSocket(of key: UInt64, hasFailed: Bool) throws(SendFailure) {
        guard let outlet = (outlets + flushing).first(where: { $0.key == key }) else { return }
        try attendToSocket(of: outlet, hasFailed: hasFailed)
    }

    func attendToSocket(of outlet: Outlet, hasFailed: Bool) throws(SendFailure) {
        do throws(SendFailure) {
            try waitForSocket(of: outlet, try outlet.sender.attend(hasFailed: hasFailed))
        } catch {
            try giveUp(outlet, because: error)
        }
    }

    private func waitForSocket(of outlet: Outlet, _ interest: Readiness?) throws(SendFailure) {
        guard let interest, let socket = outlet.sender.fileDescriptor else { return }
        try pollerResult { poller throws(SystemError) in
            try poller.setInterest(of: socket, as: outlet.key, to: interest)
        }
    }

    /// Has second threads send, or no longer, and waits for the other descriptors then.
    func balanceSenders(_ now: MonotonicTime) throws(SendFailure) {
        for outlet in outlets {
            let change = outlet.sender.balance(
                now: now, isPressed: pressure != nil || outlet.isPressed
            ) {
                .nanoseconds(clamping: threadNanoseconds())
            }
            guard let (before, after) = change else { continue }
            try pollerResult { poller throws(SystemError) in
                try poller.remove(before)
                try poller.add(after, as: outlet.key)
            }
        }
    }

    /// Whether packets wait to be sent, and a connection is there.
    var hasUnsent: Bool {
        isQueueFull && sole?.sender.isAwaited == false
            || (outlets + flushing).contains(where: \.hasUnsent)
    }

    /// Goes on without an outlet that has failed.
    ///
    /// - Throws: The reason, if it is the last one.
    private func giveUp(_ outlet: Outlet, because failure: SendFailure) throws(SendFailure) {
        if let index = flushing.firstIndex(where: { $0 === outlet }) {
            flushing.remove(at: index)
        } else if outlets.count == 1 {
            throw failure
        } else {
            removeFromReceivers(outlet)
        }
        if let socket = outlet.sender.fileDescriptor { try? poller.remove(socket) }
        outlet.end(because: .failed(failure), isEarly: true)
    }
}

/// Sessions that come and go.
extension Forwarder {
    /// Has another outlet take what comes from now on.
    func add(_ outlet: Outlet) throws(SystemError) {
        if let socket = outlet.sender.fileDescriptor { try poller.add(socket, as: outlet.key) }
        endOwnPressure()
        outlet.counters.join(counters)
        outlets.append(outlet)
        for edge in edges.values {
            join(edge.counters, edge.edge.name, edge.incarnation, of: outlet)
        }
        if let sharedRing {
            join(sharedRing.counters, SharedRing.name, SharedRing.incarnation, of: outlet)
        }
        do throws(SystemError) {
            try arrangeViews()
        } catch {
            removeFromReceivers(outlet)
            if let socket = outlet.sender.fileDescriptor { try? poller.remove(socket) }
            outlet.end(because: .failed(.system(error)), isEarly: true)
            throw error
        }
    }

    private func join(
        _ tally: EdgeTally, _ name: String, _ incarnation: UInt64, of outlet: Outlet
    ) {
        let own = FrameCounters()
        tally.own.append(own)
        outlet.counters.open(
            EdgeCounters(name: name, own: own, common: tally.common), incarnation)
    }

    /// Each outlet has pressure of its own as soon as there are several.
    private func endOwnPressure() {
        guard let outlet = sole, pressure != nil else { return }
        (pressure, isQueueFull) = (nil, false)
        pressureLog.logEnd(now: .now, to: outlet.logger)
    }

    /// Writes nothing more for an outlet.
    private func removeFromReceivers(_ outlet: Outlet) {
        guard let index = outlets.firstIndex(where: { $0 === outlet }) else { return }
        outlets.remove(at: index)
        for edge in edges.values { edge.counters.own.remove(at: index) }
        sharedRing?.counters.own.remove(at: index)
        // If that fails the old forms are written on, beside others or not.
        try? arrangeViews()
        guard let rest = sole else { return }
        rest.becomeOnly()
        pipeline.writer.set(lastNumber: rest.lastNumber)
    }

    /// Has the pipeline write what the outlets want, each form once.
    ///
    /// - Throws: If the kernel refuses a program, or there is no memory; then everything stays as it
    ///   was, and the caller puts the old forms back.
    func arrangeViews() throws(SystemError) {
        guard let form = outlets.first?.form else { return }
        var sideViews: [CaptureView] = []
        var indexes: [Int] = []
        for outlet in outlets {
            if outlet.form == form {
                indexes.append(0)
            } else if let index = sideViews.firstIndex(where: { $0.form == outlet.form }) {
                indexes.append(index + 1)
            } else {
                sideViews.append(try sideView(outlet.form))
                indexes.append(sideViews.count)
            }
        }
        let others = sideViews.map(\.form)
        let before = programs
        programs.set(form, others)
        if programs.version != before.version {
            do throws(SystemError) {
                try adoptPrograms()
            } catch {
                programs.restoreForms(of: before)
                try? adoptPrograms()
                throw error
            }
        }
        if form != pipeline.form || others != pipeline.sideViews.map(\.form) {
            pipeline.set(form, sideViews, now: .now)
        }
        for (outlet, index) in zip(outlets, indexes) { outlet.viewIndex = index }
        manager.post(.views(form, others))
    }

    private func sideView(_ form: ViewForm) throws(SystemError) -> CaptureView {
        if let known = pipeline.sideViews.first(where: { $0.form == form }) { return known }
        return try CaptureView(
            form, bytesPerSecondMax: settings.bytesPerSecondMax,
            restoresWireForm: settings.restoresWireForm,
            stageByteCount: settings.queueByteCountMax)
    }

    /// Uses a data connection from now on, if there is none yet; what has waited is sent first.
    func attach(
        _ connection: consuming sending DataConnection, to key: UInt64
    ) throws(SystemError) {
        guard let outlet = outlets.first(where: { $0.key == key }), outlet.sender.isAwaited,
            let socket = connection.fileDescriptor
        else { return }
        do throws(SystemError) {
            try poller.add(socket, as: key)
        } catch {
            guard outlets.count > 1 else { throw error }
            removeFromReceivers(outlet)
            return outlet.end(because: .failed(.system(error)), isEarly: true)
        }
        outlet.sender.attach(connection)
    }

    /// Sends a session another part of the packets, unless there is no memory for that.
    func adopt(_ sampling: Sampling, of key: UInt64) {
        try? change(key) { $0.sampling = sampling }
    }

    /// Installs a session's other filter.
    func adopt(_ filter: Program?, of key: UInt64) throws(SystemError) {
        try change(key) { $0.peerFilter = filter }
    }

    /// Installs another filter of the agent's.
    func adopt(agentFilter: Program?, of key: UInt64) throws(SystemError) {
        try change(key) { $0.agentFilter = agentFilter }
    }

    private func change(
        _ key: UInt64, _ body: (inout ViewForm) -> Void
    ) throws(SystemError) {
        guard let outlet = outlets.first(where: { $0.key == key }) else { return }
        let before = outlet.form
        body(&outlet.form)
        do throws(SystemError) {
            try arrangeViews()
        } catch {
            outlet.form = before
            throw error
        }
    }

    /// Has an outlet take what has been captured by now, if it is not gone already.
    func beginLeaving(_ key: UInt64, by deadline: MonotonicTime, _ reply: Reply?) {
        guard let outlet = outlets.first(where: { $0.key == key }) else {
            reply?.give(nil)
            return
        }
        let now = MonotonicTime.now
        // If that fails the next turn finds out.
        try? countKernel(now)
        let until = edges.values.lazy.compactMap { $0.handedOver(now: now) }.max()
        outlet.phase = .leaving(
            until: max(until ?? now, now + Ring.settlingTime),
            Outlet.Departure(deadline: deadline, reply: reply))
    }

    /// Takes outlets whose sessions leave a step further.
    func attendToOutlets(_ now: MonotonicTime) throws(SendFailure) {
        for outlet in outlets {
            outlet.endPressureIfPossible(now: now)
            guard case .leaving(let until, let departure) = outlet.phase,
                now >= until && !isBehind || now >= departure.deadline
            else { continue }
            guard outlets.count > 1 else {
                // The others have ended by themselves, as their sessions are about to learn.
                beginFinishing()
                return
            }
            removeFromReceivers(outlet)
            outlet.counters.leave(isEarly: true)
            outlet.phase = .flushing(departure)
            flushing.append(outlet)
        }
        for outlet in flushing {
            guard case .flushing(let departure) = outlet.phase,
                !outlet.hasUnsent || now >= departure.deadline
            else { continue }
            flushing.removeAll { $0 === outlet }
            if let socket = outlet.sender.fileDescriptor {
                try pollerResult { poller throws(SystemError) in try poller.remove(socket) }
            }
            outlet.end(because: nil, isEarly: true)
        }
    }
}
