package import Kernel
package import Logging

import Frames
import Glibc
import RPCAP

/// A sensor: accepts agents, has each capture, and writes what they send into one file.
///
/// One thread serves all agents with a poll loop. It belongs to the thread that runs it.
package final class Collector {
    private let listener: Listener
    private let stop: Event
    private let snaplen: Int
    private let logger: Logger
    private let view: LiveView
    private var file: CaptureFile
    private var links: [AgentLink] = []
    /// False for the rest of a second when no agent can be taken: the next one would be refused for
    /// the same reason, and the listener would stay ready.
    private var accepts = true
    private var ledger = Ledger()
    private var buffer = [UInt8](repeating: 0, count: Collector.readByteCount)

    /// As many as a sensor is sold for; each takes three descriptors.
    private static let linkCountMax = 512
    private static let readByteCount = 256 << 10
    /// Reads of one agent before the others have their turn.
    private static let readCountPerTurn = 8
    private static let tickNanoseconds: UInt64 = 1_000_000_000
    /// How long agents have to send what they have when the collector is to stop.
    private static let endNanosecondsMax: UInt64 = 3_000_000_000

    /// Listens from now on. The file is made when that has worked: what has its name is not emptied
    /// for nothing.
    package init(
        at address: SocketAddress, to path: String, snaplen: Int, stop: consuming Event,
        view: LiveView, logger: Logger
    ) throws(SystemError) {
        listener = try Self.listen(at: address)
        file = try CaptureFile(path: path)
        self.snaplen = snaplen
        self.stop = stop
        self.view = view
        self.logger = logger
        view.note("listening", ["address": "\(listener.local)"], logger)
    }

    /// Where the kernel has no IPv6, its wildcard means IPv4's.
    private static func listen(at address: SocketAddress) throws(SystemError) -> Listener {
        do throws(SystemError) {
            return try Listener(at: address)
        } catch {
            guard error.code == EAFNOSUPPORT, address.address == IPAddress(ipv6High: 0, low: 0)
            else { throw error }
            return try Listener(at: SocketAddress(IPAddress(ipv4: 0), port: address.port))
        }
    }

    /// Serves agents until `stop` is raised; then has them end, and completes the file.
    package func run() throws(SystemError) {
        var nextTick = monotonicNanoseconds() + Self.tickNanoseconds
        while true {
            let ready = try wait(until: nextTick)
            if ready[0].contains(.readable) { break }
            if ready[1].contains(.readable) { try accept() }
            serve(ready)
            try file.flushIfLarge()
            let now = monotonicNanoseconds()
            if now >= nextTick {
                nextTick = now + Self.tickNanoseconds
                try tick(now)
            }
        }
        try finish()
    }

    /// A line for each agent that has captured, for people.
    package var summary: [[String]] { ledger.rows(links) }

    package var fileByteCount: UInt64 { file.byteCount }

    private func wait(until deadline: UInt64) throws(SystemError) -> [Readiness] {
        let now = monotonicNanoseconds()
        let milliseconds = deadline > now ? (deadline - now) / 1_000_000 + 1 : 0
        return try wait(
            stop.number, accepts ? listener.number : -1, milliseconds: CInt(milliseconds))
    }

    /// Answers what `stop`, the listener and then each agent's three descriptors are ready for.
    private func wait(
        _ stop: CInt, _ listener: CInt, milliseconds: CInt
    ) throws(SystemError) -> [Readiness] {
        var requests: [(number: CInt, interest: Readiness)] = [
            (stop, .readable), (listener, .readable),
        ]
        for link in links {
            let interest: Readiness = link.hasOutput ? [.readable, .writable] : .readable
            requests.append((link.control.number, interest))
            requests.append((link.listenerNumber, .readable))
            requests.append((link.dataNumber, .readable))
        }
        return try poll(requests, milliseconds: milliseconds)
    }

    private func accept() throws(SystemError) {
        let connection: Connection?
        do throws(SystemError) {
            connection = try listener.accept()
        } catch {
            // Out of descriptors, most likely: those who wait get their turn when others have gone.
            accepts = false
            return view.note("agent not accepted", ["reason": "\(error)"], logger)
        }
        guard let connection else { return }
        guard links.count < Self.linkCountMax else {
            accepts = false
            return view.note("agent refused", ["reason": "there are \(links.count)"], logger)
        }
        try connection.watchPeer()
        try connection.sendAtOnce()
        let link = AgentLink(connection, snaplen: snaplen, now: monotonicNanoseconds())
        links.append(link)
        view.note("agent connected", ["agent": "\(link.peer)"], logger)
        guarded(link) { () throws(SystemError) in try link.proceed() }
    }

    /// Deals with what the last wait found; the links stand in the order in which it asked.
    private func serve(_ ready: [Readiness]) {
        let count = (ready.count - 2) / 3
        for index in 0..<min(count, links.count) {
            let link = links[index]
            let states = ready[(2 + index * 3)..<(5 + index * 3)]
            let base = states.startIndex
            guarded(link) { () throws(SystemError) in
                if !states[base + 1].isEmpty { try link.acceptData() }
                if !states[base + 2].isEmpty { try readData(link) }
                if states[base].contains(.writable) { try link.writeControl() }
                if !states[base].isDisjoint(with: [.readable, .failed]) {
                    try link.readControl(into: &buffer)
                }
            }
        }
        removeEnded()
    }

    private func guarded(_ link: AgentLink, _ body: () throws(SystemError) -> Void) {
        do throws(SystemError) {
            try body()
        } catch {
            link.end("\(error)")
        }
    }

    private func readData(_ link: AgentLink) throws(SystemError) {
        let interface = interface(of: link)
        for _ in 0..<Self.readCountPerTurn {
            let hasMore = try link.readData(into: &buffer) { record, frame in
                file.add(
                    frame, interface: interface, nanoseconds: record.nanosecondsSince1970,
                    wireByteCount: record.wireByteCount)
            }
            guard hasMore else { return }
        }
    }

    /// An agent that comes back is the same interface again.
    private func interface(of link: AgentLink) -> Int {
        if let interface = link.interface { return interface }
        let name = "\(link.device)@\(link.peer.address)"
        let interface: Int
        if let known = ledger.interface(named: name) {
            interface = known
        } else {
            interface = file.addInterface(
                name: name, description: "podwire agent at \(link.peer.address)", snaplen: snaplen)
            ledger.add(name, interface, at: wallClockNanoseconds())
        }
        link.interface = interface
        view.note("capture started", ["agent": "\(link.peer)", "device": link.device], logger)
        return interface
    }

    private func removeEnded() {
        for link in links where link.endReason != nil {
            ledger.close(link)
            view.note(
                "agent gone", ["agent": "\(link.peer)", "reason": link.endReason ?? ""], logger)
        }
        links.removeAll { $0.endReason != nil }
    }

    private func tick(_ now: UInt64) throws(SystemError) {
        accepts = true
        for link in links {
            link.checkDeadline(now)
            guarded(link) { () throws(SystemError) in try link.askForStatistics() }
        }
        removeEnded()
        try file.flush()
        view.show(links, now: now, logger)
    }

    private func finish() throws(SystemError) {
        view.note("stopping", [:], logger)
        for link in links {
            guarded(link) { () throws(SystemError) in try link.endCapture() }
        }
        removeEnded()
        let deadline = monotonicNanoseconds() + Self.endNanosecondsMax
        while !links.isEmpty, monotonicNanoseconds() < deadline {
            // The event stays raised, so it is left out of the wait; and nobody else is let in.
            serve(try wait(-1, -1, milliseconds: 100))
            try file.flushIfLarge()
        }
        // No CLOSE is sent: the daemons that podwire replaces would never dial again.
        for link in links { ledger.close(link) }
        let end = wallClockNanoseconds()
        for entry in ledger.entries {
            file.add(entry.counts, interface: entry.interface, start: entry.start, end: end)
        }
        try file.flush()
    }
}
