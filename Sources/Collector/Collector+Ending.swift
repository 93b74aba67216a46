import Linux
import Time

/// Requests, and the end.
extension Collector {
    /// The time in which agents have to send what they have when the collector stops.
    private static let endTimeMax = Duration.seconds(3)
    /// The time from the beginning of the end on until which readers may take packets that have waited.
    private static let restTimeMax = Duration.seconds(4)
    /// The time for the whole end, if the disk does not hold it up; the rest of it is for readers.
    package static let wholeEndTimeMax = Duration.seconds(5)
    /// The time between two looks at deadlines while the collector stops.
    private static let endInterval = Duration.milliseconds(100)

    /// Does what other threads have asked for.
    ///
    /// - Returns: Why the collector is to stop; nil if it is not.
    func dealWithRequests(
        _ now: MonotonicTime, _ showNumbers: (Collector) -> Void
    ) throws(SystemError) -> String? {
        let asked = requests.take()
        if asked.contains(.numbers) {
            view.makePlace()
            showNumbers(self)
        }
        if asked.contains(.hold) { view.hold() }
        if asked.contains(.redraw) { view.resume() }
        if asked.contains(.leave) {
            view.leave()
            requests.confirmLeave()
        }
        if asked.contains(.newFile) { try rotateIfDue(now, isAsked: true) }
        return asked.contains(.stop) ? "it was asked to" : nil
    }

    /// Why the collector is to stop by itself; nil if it is not.
    func reasonToStop(_ now: MonotonicTime) -> String? {
        if now >= endsAt { return "the time of --duration is over" }
        return switch outputs.ending {
        case .complete: "as many packets as --count says have been written"
        case .readerGone: "the program that reads --output has gone"
        case nil: nil
        }
    }

    /// Ends all captures and completes the outputs.
    ///
    /// Nobody else is let in.
    func finish() throws(SystemError) {
        isStopping = true
        let begin = MonotonicTime.now
        var now = begin
        let deadline = now + Self.endTimeMax
        for link in links {
            link.endCapture(now: now)
            refresh(link)
        }
        removeEnded(now)
        while !links.isEmpty, now < deadline {
            let ready = try wait(for: peerRequests, until: now + Self.endInterval)
            now = .now
            try serveLinks(now)
            for link in links {
                link.expire(now: now)
                refresh(link)
            }
            removeEnded(now)
            try deliver(ready, now)
        }
        for link in links { link.end("the agent did not end its capture within 3 s") }
        removeEnded(now)
        defer { tellNews() }
        try recordRest(until: begin + Self.restTimeMax)
        writeNames()
        defer { report(outputs.takeFinished(), .now) }
        try outputs.finish(until: begin + Self.wholeEndTimeMax)
    }

    /// Ends all captures at once, since the collector cannot go on.
    func abandon() {
        let begin = MonotonicTime.now
        isStopping = true
        for link in links { link.end("the collector ends") }
        removeEnded(.now)
        writeNames()
        // What waits is counted, and what can be completed is.
        while merge.releaseMore({ outputs.add($0, $1, of: $2) }) { try? outputs.flushIfLarge() }
        try? outputs.finish(until: begin + Self.wholeEndTimeMax)
        report(outputs.takeFinished(), .now)
        tellNews()
    }

    /// Gives all packets that wait to the outputs, as fast as readers take them until a deadline.
    private func recordRest(until deadline: MonotonicTime) throws(SystemError) {
        while merge.releaseMore({ outputs.add($0, $1, of: $2) }) {
            try outputs.flushIfLarge()
            outputs.deliver(now: .now)
            while outputs.isBehind, MonotonicTime.now < deadline {
                let ready = try wait(for: peerRequests, until: deadline)
                outputs.serve({ ready[.output($0)] }, now: .now)
            }
        }
    }
}
