import Addressing
import Explain
import Netlink
import Observation
import Packets
import Testing
import Time

@Suite("What becomes of a request")
struct RequestOutlookTests {
    private func outlook(_ text: String, flows: [TrackedFlow] = []) throws -> RequestOutlook? {
        let words = text.split(separator: " ").map(String.init)
        var explainer = TestNode.explainer(flows: flows)
        return explainer.outlook(
            of: try DescribedPacket(words: words), now: MonotonicTime(nanoseconds: 1 << 40))
    }

    @Test(
        "says which edge reports a SYN, answered or not",
        arguments: [
            ("tcp 10.244.1.2:40000 10.244.1.3:80", "vb", "va"),
            ("tcp 10.244.1.2:40000 10.244.2.3:80", "of 10.244.2.3, on its node", "va"),
            ("tcp 10.244.2.3:40000 10.244.1.2:80", "va", "of 10.244.2.3, on its node"),
            ("icmp 10.244.1.3 10.244.1.2", "va", "vb"),
        ])
    func held(text: String, answered: String, unanswered: String) throws {
        let outlook = try #require(try outlook(text))
        #expect(outlook.time == .held)
        #expect(outlook.kind == (text.hasPrefix("tcp") ? .connection : .ping))
        #expect(outlook.answered?.edge == answered && outlook.unanswered.edge == unanswered)
        let form = text.split(separator: " ").dropFirst().joined(separator: " to ")
        #expect(outlook.unanswered.form.ends == form && outlook.answered?.form.ends == form)
    }

    @Test(
        "says that a request is reported at once, if no other edge could report it",
        arguments: [
            ("tcp 10.244.1.2:80 10.244.1.3:40000", "va"),
            ("tcp 10.244.1.2:40000 198.51.100.1:443", "va"),
            ("tcp 198.51.100.1:40000 10.244.1.3:80", "vb"),
            ("icmp 10.244.1.2 10.244.1.3", "va"),
        ])
    func atOnce(text: String, edge: String) throws {
        let outlook = try #require(try outlook(text))
        #expect(outlook.time == .atOnce)
        #expect(outlook.answered == outlook.unanswered && outlook.unanswered.edge == edge)
    }

    @Test(
        "is nothing for protocols without requests, and where no edge is",
        arguments: [
            "udp 10.244.1.2:40000 10.244.1.3:53", "sctp 10.244.1.2:9 10.244.1.3:8",
            "tcp 198.51.100.1:1 198.51.100.2:2", "icmp 10.244.1.2 224.0.0.1",
        ])
    func none(text: String) throws {
        #expect(try outlook(text) == nil)
    }

    @Test("has the pod form of a call to a service, wherever it is reported")
    func service() throws {
        let outlook = try #require(
            try outlook("tcp 10.244.1.2:40000 10.96.0.10:80", flows: [TestNode.call]))
        #expect(outlook.time == .held)
        #expect(outlook.answered?.edge == "vb" && outlook.unanswered.edge == "va")
        for report in [outlook.answered, outlook.unanswered] {
            #expect(report?.form.description == "tcp 10.244.1.2:40000 to 10.244.1.3:8080")
        }
    }

    @Test("leaves the answered form of a call open that is not going on")
    func unknownService() throws {
        let outlook = try #require(try outlook("tcp 10.244.1.2:40000 10.96.0.10:80"))
        #expect(outlook.time == .heldIfPodServes && outlook.answered == nil)
        #expect(outlook.unanswered.edge == "va")
        #expect(outlook.unanswered.form.description == "tcp 10.244.1.2:40000 to 10.96.0.10:80")
    }

    @Test(
        "knows that no edge reports an answered request to a node's address, as other nodes see it")
    func nodeAddress() throws {
        let outlook = try #require(try outlook("tcp 10.244.2.3:40000 10.244.1.1:80"))
        #expect(outlook.time == .held && outlook.answered == nil)
        #expect(outlook.unanswered.edge == "of 10.244.2.3, on its node")
    }

    @Test("shows a ping as held at both edges, and an ordinary TCP packet as decided")
    func views() throws {
        var explainer = TestNode.explainer()
        let now = MonotonicTime(nanoseconds: 1 << 40)
        let ping = explainer.explain(
            try DescribedPacket(words: ["icmp", "10.244.1.3", "10.244.1.2"]), now: now)
        #expect(ping.map { $0.isHeld(at: .sender) } == [true, false])
        #expect(ping.map { $0.isHeld(at: .observedEnd) } == [false, true])
        let words = ["tcp", "10.244.1.2:40000", "10.244.1.3:80"]
        let ordinary = explainer.explain(try DescribedPacket(words: words), now: now)
        #expect(ordinary.allSatisfy { $0.requestPart == nil && $0.isDecidedByKernel })
        let syn = explainer.explain(
            try DescribedPacket(words: words), isRequest: true, now: now)
        #expect(syn.allSatisfy { $0.requestPart != nil && !$0.isDecidedByKernel })
    }
}

@Suite("Requests in a file")
struct FileRequestTests {
    private static let start: UInt64 = 1_700_000_000_000_000_000
    private static let millisecond: UInt64 = 1_000_000

    private enum Flags {
        static let syn: UInt8 = 0x02
        static let synAck: UInt8 = 0x12
        static let reset: UInt8 = 0x14
    }

    /// A TCP segment, from one MAC address to another.
    private func segment(
        _ flags: UInt8, from source: (ip: String, mac: UInt64, port: UInt16),
        to destination: (ip: String, mac: UInt64, port: UInt16)
    ) -> [UInt8] {
        var frame = TestNode.mac(destination.mac).bytes + TestNode.mac(source.mac).bytes + [8, 0]
        frame += [0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0]
        frame += TestNode.address(source.ip).bytes + TestNode.address(destination.ip).bytes
        frame += [source.port, destination.port].flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] }
        return frame + [0, 0, 0, 0, 0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]
    }

    /// What is said of frames with their times in milliseconds; the gateway has the MAC address 1.
    private func explanation(
        _ frames: [(milliseconds: UInt64, bytes: [UInt8])]
    ) -> FileExplanation {
        var explanation = FileExplanation(TestNode.explainer(), at: nil)
        for frame in frames {
            explanation.add(
                frame.bytes,
                nanoseconds: Self.start + frame.milliseconds * Self.millisecond)
        }
        explanation.end()
        return explanation
    }

    private func syn(port: UInt16 = 40000, to destination: String = "10.244.2.3") -> [UInt8] {
        segment(Flags.syn, from: ("10.244.1.2", 7, port), to: (destination, 1, 80))
    }

    private func answer(_ flags: UInt8, port: UInt16 = 40000) -> [UInt8] {
        segment(flags, from: ("10.244.2.3", 1, 80), to: ("10.244.1.2", 7, port))
    }

    @Test("lists the requests that nobody answered")
    func unanswered() {
        let explanation = explanation([
            (0, syn()), (1000, syn()), (1500, syn(port: 40001)), (1600, syn(to: "10.244.2.4")),
            (9000, syn(port: 50000)),
        ])
        let rows = explanation.unanswered.sortedRows
        #expect(
            rows.map { "\($0.source) \($0.destination)" } == [
                "10.244.1.2 10.244.2.3:80", "10.244.1.2 10.244.2.4:80",
            ])
        #expect(rows.map(\.count) == [3, 1] && rows.map(\.receiverCount) == [0, 0])
        #expect(rows.first?.firstNanoseconds == Self.start)
        #expect(explanation.requestCount(.unanswered) == 4)
        #expect(explanation.requestCount(.undecided) == 1)
        let late = explanation.counts.filter { $0.key.request == .unanswered }
        #expect(late.keys.allSatisfy { $0.isReported && !$0.isDecidedByKernel })
        #expect(explanation.counts.values.reduce(0, +) == 5)
    }

    @Test("knows answers, unless they come too late", arguments: [Flags.synAck, Flags.reset])
    func answered(flags: UInt8) {
        let inTime = explanation([(0, syn()), (499, answer(flags))])
        #expect(inTime.requestCount(.answered) == 1 && inTime.unanswered.sortedRows.isEmpty)
        let late = explanation([(0, syn()), (501, answer(flags))])
        #expect(late.requestCount(.unanswered) == 1 && late.unanswered.sortedRows.count == 1)
        let other = explanation([(0, syn()), (1, answer(flags, port: 40001)), (700, syn())])
        #expect(other.requestCount(.unanswered) == 1 && other.requestCount(.undecided) == 1)
    }

    @Test("takes a request at the edge of the pod that got it as its sender's to report")
    func receiver() {
        let request = segment(
            Flags.syn, from: ("10.244.2.3", 1, 40000), to: ("10.244.1.2", 7, 80))
        let explanation = explanation([(0, request), (1000, syn())])
        let rows = explanation.unanswered.sortedRows
        #expect(rows.map(\.receiverCount) == [1] && rows.map(\.senderCount) == [0])
        let row = explanation.counts.keys.first { $0.request == .unanswered }
        #expect(row?.isReported == false)
    }

    @Test("lists what is reported at once and that nobody answers as well")
    func atOnce() {
        // To the outside, and from the observed end.
        let outside = segment(
            Flags.syn, from: ("10.244.1.2", 7, 40000), to: ("198.51.100.1", 1, 443))
        let low = segment(Flags.syn, from: ("10.244.1.2", 7, 80), to: ("10.244.2.3", 1, 40000))
        let reply = segment(
            Flags.synAck, from: ("10.244.2.3", 1, 40000), to: ("10.244.1.2", 7, 80))
        let explanation = explanation([
            (0, outside), (1, low), (500, reply), (1000, low), (1501, reply), (2000, [1]),
        ])
        let rows = explanation.unanswered.sortedRows
        #expect(
            rows.map { "\($0.destination)" } == ["198.51.100.1:443", "10.244.2.3:40000"])
        #expect(rows.map(\.atOnceCount) == [1, 1] && rows.map(\.count) == [1, 1])
        #expect(explanation.requestCount(.unanswered) == 0)
    }

    @Test("counts a request that both edges saw once, and knows its answer at either")
    func bothEdges() {
        // Behind a gateway each edge has its own MAC addresses.
        let atSender = segment(
            Flags.syn, from: ("10.244.1.2", 7, 40000), to: ("10.244.1.3", 1, 80))
        let atReceiver = segment(
            Flags.syn, from: ("10.244.1.2", 1, 40000), to: ("10.244.1.3", 8, 80))
        let unanswered = explanation([(0, atSender), (0, atReceiver), (1000, [1])])
        #expect(unanswered.unanswered.sortedRows.map(\.count) == [1])
        #expect(unanswered.requestCount(.unanswered) == 2)
        let reply = segment(
            Flags.synAck, from: ("10.244.1.3", 8, 80), to: ("10.244.1.2", 1, 40000))
        let answered = explanation([(0, atSender), (1, reply), (1000, syn())])
        #expect(answered.requestCount(.answered) == 1)
    }

    @Test("takes a copy that the bridge has flooded back to the sender's edge as no request")
    func floodedBack() {
        // Held, and reported at once; neither MAC address behind the bridge is known.
        let held = segment(Flags.syn, from: ("10.244.1.2", 7, 40000), to: ("10.244.2.3", 99, 80))
        let low = segment(Flags.syn, from: ("10.244.1.2", 7, 80), to: ("10.244.1.3", 8, 40000))
        for (request, late) in [(held, 1), (low, 0)] {
            let explanation = explanation([(0, request), (0, request), (1000, [1])])
            #expect(explanation.unanswered.sortedRows.map(\.count) == [1])
            #expect(explanation.requestCount(.unanswered) == late)
            let copies = explanation.counts.filter { $0.key.step == .flooded }
            #expect(copies.map(\.key.isReported) == [false] && copies.values.first == 1)
            // A second later it is a retransmission.
            let again = self.explanation([(0, request), (1000, request), (2000, [1])])
            #expect(again.unanswered.sortedRows.map(\.count) == [2])
        }
    }

    @Test("takes no copy that a bridge has sent to other ports as another frame")
    func copied() {
        // Broadcast ARP, a datagram to a MAC address that nobody has, and one to the gateway.
        let arp =
            MACAddress.broadcast.bytes + TestNode.mac(7).bytes + [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]
        let datagram = { (mac: UInt64) -> [UInt8] in
            var frame = self.segment(
                0, from: ("10.244.1.2", 7, 53), to: ("198.51.100.1", mac, 40000))
            frame[23] = 17
            return frame
        }
        for (frame, step) in [
            (arp, Decision.Step.groupFromPod), (datagram(99), .flooded), (datagram(1), nil),
        ] as [([UInt8], Decision.Step?)] {
            let explanation = explanation([(0, frame), (0, frame), (0, frame), (1000, frame)])
            let reported = explanation.counts.filter { $0.key.isReported }
            #expect(reported.values.reduce(0, +) == (step == nil ? 4 : 2))
            #expect(explanation.counts.first { !$0.key.isReported }?.key.step == step)
        }
    }

    @Test("counts the requests that are open when the file ends, held or reported at once")
    func open() {
        let outside = segment(
            Flags.syn, from: ("10.244.1.2", 7, 40000), to: ("198.51.100.1", 1, 443))
        #expect(explanation([(0, syn()), (1, outside)]).openCount == 2)
        #expect(explanation([(0, syn()), (1, outside), (700, [1])]).openCount == 0)
        #expect(explanation([(0, syn()), (1, answer(Flags.synAck))]).openCount == 0)
    }

    @Test("does not hold requests with forged sources")
    func forged() {
        let forged = segment(
            Flags.syn, from: ("10.244.7.7", 7, 40000), to: ("10.244.2.3", 1, 80))
        let explanation = explanation([(0, forged), (1000, syn())])
        #expect(explanation.notHeldCount == 1 && explanation.requestCount(.unanswered) == 0)
    }
}
