import Addressing
import BPF
import CaptureFiles
import Linux
import Log
import RPCAP
import Security
import Time

/// A session with one agent: its control connection, and the path of its packets.
///
/// It belongs to the collector's thread. An error of its sockets ends this link and no other.
final class AgentLink {
    /// Its number, which no other link has had.
    let id: Int
    let connectedAt: MonotonicTime
    /// The source that was dialled; nil if the agent dialled.
    let source: Source?
    let options: CaptureOptions
    private var control: Channel
    private var session: ClientSession
    var path: DataPath
    /// A watch for its own packets among those that it captures.
    var feed: FeedWatch
    /// When its last packets came, or else when it connected.
    var activeAt: MonotonicTime
    private(set) var device = ""
    /// What the device is, in the agent's words; empty for the stream of all pods.
    private var deviceText = ""
    private(set) var linkType: UInt16 = 0
    private(set) var state = State.greeting
    /// Where its packets are counted, once there is a capture.
    private(set) var counters: SourceCounters?
    /// Why it is over; nil while it is not.
    private(set) var endReason: String?
    /// What a person can do about that, if something is known.
    private(set) var remedy: String?
    /// What the session has said last of what it waits for.
    private var lastNote: String?
    /// When its packets began to be counted.
    private var capturingSince: MonotonicTime?
    /// Whether lines about it are news again, since it has worked.
    var isProven = false
    /// Whether its address was failing when it connected, so that its connection was no news.
    var isRetry = false
    /// Why the control connection is over, while packets that were sent before are still read.
    private(set) var closeReason: String?
    /// Whether the agent has ended the capture in order.
    var hasEnded = false
    /// Whether all that the agent has sent has been read, up to the end that it has sent, too.
    var isDrained = false
    /// Whether the peer closed before it said anything, as one does who only looks for a listener.
    private(set) var isProbe = false
    private var hasSpoken = false
    private var output: [UInt8] = []
    var dataDeadline: MonotonicTime?
    private var lastStatistics = CaptureStatistics()
    /// Notes for a person, and those that have been taken.
    private var notes: [String] = []
    private var takenNotes: Set<String> = []
    /// The pods that the agent has named, until they are taken.
    var namedPods: [OfferedPod]?
    /// When the agent is asked for its devices again, and how long it is left alone then.
    private var nextListing: MonotonicTime
    private var listingInterval = firstListingInterval

    enum State: String {
        case greeting
        case starting
        case capturing
        case ending
    }

    /// The time in which a data connection has to be open, by either side.
    private static let dataTimeMax = Duration.seconds(10)
    /// The time for which datagrams may come behind the agent's word that all have been sent.
    private static let lateTimeMax = Duration.milliseconds(300)
    /// The time for which packets are read behind the end of the control connection.
    ///
    /// An agent that ends closes both connections, and what it sent before waits in the socket's
    /// buffer: a buffer takes less than a second to read. An agent that goes on for longer has lost
    /// its control connection alone, and nobody could end its capture.
    private static let closedTimeMax = Duration.seconds(3)
    /// The most notes of one session that are logged.
    private static let noteCountMax = 16
    /// The time between two lists of an agent's devices.
    ///
    /// A list has 60,000 bytes at most. The name of a new pod comes later by this time at most.
    private static let listingIntervalMax = Duration.seconds(10)
    /// The first such time, which doubles: an agent that has just begun may not know all names yet.
    private static let firstListingInterval = Duration.seconds(1)
    /// Reads of one agent's connection before the others have their turn.
    static let readCountPerTurn = 8

    init(
        _ control: consuming Channel, from source: Source?, _ options: CaptureOptions,
        _ connections: OwnConnections, id: Int, now: MonotonicTime
    ) {
        path = DataPath(from: control.peer.address, snaplen: options.snaplen)
        self.source = source
        self.options = options
        feed = FeedWatch(
            connections, of: id, at: control.peer.address, isSampled: options.sampling != .none)
        self.id = id
        (connectedAt, activeAt) = (now, now)
        nextListing = now + listingInterval
        var goal = ClientSession.Goal()
        goal.sampling = options.sampling
        goal.device = source?.device
        goal.pod = options.pod
        goal.namesPods = options.wantsNames
        goal.login = source?.login ?? .null
        session = ClientSession(source == nil ? .active : .passive, goal, now: now)
        self.control = control
    }

    var peer: SocketAddress { control.peer }

    /// The agent's name for people: where it dialled from, or what was dialled.
    var label: String { source?.description ?? "\(peer)" }

    /// The agent's host, without a port that says nothing.
    ///
    /// Behind a translated address it is followed by the agent's own: `"192.0.2.1/10.0.0.5"`.
    var host: String {
        source?.shortPlace
            ?? ([peer.address] + [ownAddress].compactMap(\.self))
            .map(\.description).joined(separator: "/")
    }

    /// The address of an agent that others share, by which it can be told apart from them.
    ///
    /// Nil if nobody translates the agent's address, if the agent offers none, or was dialled.
    private var ownAddress: IPAddress? {
        let own = session.peerAddresses
        guard source == nil, !own.contains(peer.address) else { return nil }
        return own.first
    }

    /// The name of its interface in the file, which another agent may have, too.
    var interfaceName: String { "\(device)@\(host)" }

    /// The state for people: there is no capture before packets can come.
    var shownState: String {
        state == .capturing && !path.carriesPackets ? State.starting.rawValue : state.rawValue
    }

    /// Where a data connection came from that is not the agent's.
    var strangerText: String {
        path.stranger.map { ", and one from \($0) was turned away" } ?? ""
    }

    /// The device for people: with its name in the file if the agent's host does not identify it.
    var shownDevice: String {
        let shortName = "\(device)@\(source?.shortPlace ?? "\(peer.address)")"
        return counters.flatMap { $0.name == shortName ? nil : $0.name } ?? device
    }

    /// The text for its interface in the file: what the device is, whose it is, and what is asked for.
    var interfaceDescription: String {
        let place =
            ownAddress.map { "agent at \($0), behind \(peer.address)" } ?? "agent at \(host)"
        return ([deviceText, place].filter { !$0.isEmpty } + options.limits)
            .joined(separator: "; ")
    }

    var isCapturing: Bool { state == .capturing || state == .ending }

    /// Whether packets can be read.
    var carriesPackets: Bool { path.carriesPackets }

    /// The control connection in a poll set; a descriptor of -1 if it is over.
    var controlRequest: (fileDescriptor: CInt, interest: Readiness) {
        guard closeReason == nil else { return (-1, []) }
        return (control.fileDescriptor, control.interest(hasOutput: !output.isEmpty))
    }

    /// The data path in a poll set.
    var dataRequest: (fileDescriptor: CInt, interest: Readiness) {
        (path.fileDescriptor, path.interest)
    }

    /// Whether the control connection has something to read that poll does not know of.
    var hasControlBytes: Bool { closeReason == nil && control.hasBytesToReceive }
    /// Whether the data path has something to read that poll does not know of.
    var hasDataBytes: Bool { path.hasBufferedBytes }

    /// Ends the link.
    ///
    /// The first reason counts.
    func end(_ reason: String, remedy: String? = nil) {
        if endReason == nil { (endReason, self.remedy) = (reason, self.remedy ?? remedy) }
    }

    /// Whether it has worked: its capture ran for long enough, or was ended in order.
    func hasWorked(now: MonotonicTime) -> Bool {
        guard let capturingSince else { return false }
        return hasEnded || now >= capturingSince + PeerLogThrottle.goodTime
    }

    /// Takes what a person has to be told, each text once.
    func takeNotes() -> [String] {
        defer { notes = [] }
        return notes
    }

    func note(_ text: String) {
        guard takenNotes.count < Self.noteCountMax, takenNotes.insert(text).inserted else {
            return
        }
        notes.append(text)
    }

    /// Counts its packets there from now on.
    func count(in counters: SourceCounters, now: MonotonicTime) {
        self.counters = counters
        capturingSince = now
        counters.begin(now: now)
    }
}

/// The control connection.
extension AgentLink {
    /// Reads what the agent says, and answers it.
    func readControl(into buffer: inout [UInt8], now: MonotonicTime) {
        guard closeReason == nil, endReason == nil else { return }
        closeOnFailure(now) { () throws(TLSFailure) in
            switch try control.receive(into: &buffer) {
            case nil: break
            case 0: recordClose(now)
            case let count?:
                hasSpoken = true
                session.receive(buffer[..<count])
                try carryOutActions(now)
            }
        }
    }

    /// Sends what waits to be sent.
    func writeControl(now: MonotonicTime) {
        closeOnFailure(now) { () throws(TLSFailure) in try sendOutput() }
    }

    /// Carries out what the session wants now; with it the session begins.
    func proceed(now: MonotonicTime) {
        closeOnFailure(now) { () throws(TLSFailure) in try carryOutActions(now) }
    }

    /// Ends what is late.
    func expire(now: MonotonicTime) {
        if let dataDeadline, now > dataDeadline {
            if let closeReason { return end(closeReason) }
            switch path.state {
            case .datagrams, .none: complete()
            case .bound, .connecting:
                end("the agent's data port does not answer within 10 s", remedy: Remedy.dataPort)
            case .listening, .open:
                end(
                    "the agent opened no data connection" + strangerText,
                    remedy: Remedy.dataConnection)
            }
        }
        session.expire(now: now)
        proceed(now: now)
    }

    /// Asks for another filter.
    func update(_ filter: Program, now: MonotonicTime) {
        session.updateFilter(filter.instructions, now: now)
        proceed(now: now)
    }

    private var isWaitingForPod: Bool { options.pod != nil && device.isEmpty }

    /// Asks for the agent's devices, if that is due: for the names of its pods, or for the pod that is
    /// to be captured.
    func askForDevices(now: MonotonicTime) {
        guard now >= nextListing, session.isIdle, isWaitingForPod || state == .capturing,
            isWaitingForPod || options.wantsNames && session.offersPods
        else { return }
        listingInterval = min(listingInterval * 2, Self.listingIntervalMax)
        nextListing = now + listingInterval
        session.askForDevices(now: now)
        proceed(now: now)
    }

    func askForStatistics(now: MonotonicTime) {
        guard state == .capturing, session.isIdle else { return }
        session.askForStatistics(now: now)
        proceed(now: now)
    }

    /// Ends the capture.
    ///
    /// The link ends when the agent has sent its last packet.
    func endCapture(now: MonotonicTime) {
        guard closeReason == nil else { return }
        guard state == .capturing else {
            return end(isWaitingForPod ? lastNote ?? "ended" : "ended")
        }
        state = .ending
        session.askForStatistics(now: now)
        session.end(now: now)
        proceed(now: now)
    }

    func carryOutActions(_ now: MonotonicTime) throws(TLSFailure) {
        while endReason == nil, closeReason == nil, let action = session.nextAction(now: now) {
            switch action {
            case .send(let bytes): output += bytes
            case .prepare(let device, let linkType): try prepare(device, linkType, now)
            case .started(let reply): try begin(reply, now)
            case .statistics(let statistics): record(statistics)
            case .note(let text):
                // What is done about it ends with the session.
                lastNote = String(text.prefix { $0 != ":" })
                note(text)
            case .ended: recordEnd(now)
            case .listed(let devices): namedPods = devices.compactMap { OfferedPod($0) }
            case .close(let reason):
                end(
                    hasEnded ? "ended" : reason,
                    remedy: session.failure.flatMap { Remedy.text(for: $0, of: source) })
            }
        }
        try sendOutput()
    }

    private func sendOutput() throws(TLSFailure) {
        guard closeReason == nil, !output.isEmpty else { return }
        output.removeFirst(try control.send(output[...]))
    }

    private func recordClose(_ now: MonotonicTime) {
        isProbe = source == nil && !hasSpoken
        close(state == .ending ? "closed" : "the agent closed the connection", now)
    }

    /// Ends the control connection, and the link when the packets that were sent before are read.
    private func close(_ reason: String, _ now: MonotonicTime) {
        guard closeReason == nil, endReason == nil else { return }
        switch path.state {
        case .none, .listening, .bound, .connecting: return end(reason)
        case .datagrams: dataDeadline = now + Self.lateTimeMax
        case .open: dataDeadline = now + Self.closedTimeMax
        }
        closeReason = reason
        state = .ending
    }

    /// Ends the control connection if `body` fails.
    private func closeOnFailure(_ now: MonotonicTime, _ body: () throws(TLSFailure) -> Void) {
        do throws(TLSFailure) {
            try body()
        } catch {
            // A peer that closes with something unread resets the connection.
            let isClose =
                switch error {
                case .closed: true
                case .system(let error):
                    error.errno == .connectionReset || error.errno == .brokenPipe
                default: false
                }
            guard closeReason == nil, endReason == nil else { return }
            if isClose { isProbe = source == nil && !hasSpoken }
            remedy = Remedy.text(for: error, of: source)
            close(error.text, now)
        }
    }

    /// Prepares for the data at the address of the control connection, and starts the capture.
    private func prepare(
        _ device: Device, _ linkType: UInt16, _ now: MonotonicTime
    ) throws(TLSFailure) {
        self.device = ReplyText.printable(device.name)
        if !device.isStream, !device.isPreselected {
            deviceText = ReplyText.printableWords(device.description)
        }
        self.linkType = linkType
        warnOfFilter()
        let here = control.local.with(port: 0)
        var flags: StartRequest.Flags = source == nil ? .serverOpens : []
        var (port, ownPort): (UInt16, UInt16) = (0, 0)
        do throws(SystemError) {
            if options.usesDatagrams {
                port = try path.receiveDatagrams(at: here)
                flags.insert(.udp)
            } else if source == nil {
                port = try path.listen(at: here)
                dataDeadline = now + Self.dataTimeMax
            } else {
                ownPort = try path.bind(at: here)
            }
        } catch {
            throw .system(error)
        }
        feed.begin([control.local, here.with(port: max(port, ownPort))], at: device)
        let filter = feed.firstFilter(linkType, options.wantedFilter)
        warnOfLongFilter()
        session.start(
            options.startRequest(flags: flags, dataPort: port, filter: filter), now: now)
        state = .starting
    }

    /// Notes that the capture runs.
    ///
    /// An agent that was dialled is dialled once more for its packets.
    private func begin(_ reply: StartReply, _ now: MonotonicTime) throws(TLSFailure) {
        if state == .starting { state = .capturing }
        guard source != nil, !options.usesDatagrams else { return }
        do throws(SystemError) {
            try path.connect(to: peer.with(port: reply.dataPort))
        } catch {
            throw .system(error)
        }
        dataDeadline = now + Self.dataTimeMax
    }

    /// Warns if the filter was made for other packets than the device has.
    private func warnOfFilter() {
        guard options.filter != nil, linkType != 1 else { return }
        let name = LinkTypeName.text(linkType)
        note(
            "the filter: the packets of \(device) are no Ethernet frames but \(name): a filter for Ethernet "
                + "lets wrong packets through or none, make it with tcpdump -y \(name) -ddd")
    }

    private func record(_ statistics: CaptureStatistics) {
        // A daemon that forgets its counts at the end reports zeros.
        guard let counters, statistics != CaptureStatistics() else { return }
        counters.add(statistics, since: lastStatistics)
        lastStatistics = statistics
    }

    /// Records that the agent has ended the capture.
    ///
    /// Its last packets may still be on their way.
    private func recordEnd(_ now: MonotonicTime) {
        hasEnded = true
        switch path.state {
        case .none: complete()
        case .datagrams: dataDeadline = now + Self.lateTimeMax
        case .listening, .bound, .connecting, .open: break
        }
    }

    /// Ends the session, since all packets have been sent and read.
    func complete() {
        path.close()
        dataDeadline = nil
        hasEnded = true
        session.close()
    }
}
