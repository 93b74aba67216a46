import Explain
import Formats
import Linux
import Observation
import Packets
import Time

/// What `podwire explain` says of a described packet, as text or as JSON.
struct PacketReport {
    private let packet: DescribedPacket
    /// Where it is reported, in a sentence.
    private let verdict: String
    private let roles: [String]
    private let views: [Explainer.View]
    private let outlook: RequestOutlook?
    private let isLostUnseen: Bool
    /// What the tables do not show, in sentences.
    private let remarks: [String]
    /// What of the packets that the rule reports the agent sends, for programs.
    private let selection: ExplainedSelection

    init(
        _ packet: DescribedPacket, _ explainer: inout Explainer, _ selection: ExplainedSelection
    ) {
        self.packet = packet
        roles = packet.bothEnds.map { explainer.role(of: $0.address) }
        views = explainer.explain(packet, now: .now)
        verdict = Verdict(packet, views, explainer).description
        outlook = explainer.outlook(of: packet, now: .now)
        isLostUnseen =
            packet.requestKind == nil && views.contains(where: \.isReportedElsewhere)
            && !views.contains { $0.decision.isReported && $0.direction == .fromPod }
        remarks =
            Self.remarks(packet, views, explainer, isLostUnseen: isLostUnseen)
            + selection.remarks(views)
        self.selection = selection
    }

    /// The tables for people.
    func text(in window: Window) -> String {
        let ends = zip(["source", "destination"], zip(packet.bothEnds, roles)).map {
            [$0, $1.0.description, $1.1].map { Table.Cell($0) }
        }
        let table = Table([.word("END"), .word("ADDRESS"), .sentence("IS A", widthMin: 12)], ends)
        let identity = packet.communityID.map { "community id \($0)\n" } ?? ""
        let text =
            window.paragraph(verdict) + "\n\(packet)\n\(identity)\n"
            + table.text(in: window.ofSentences)
        guard !views.isEmpty else { return text }
        let title = isOfConnection ? "\nA packet of an established connection:\n\n" : "\n"
        let request = outlook.map { self.text($0, in: window) } ?? ""
        let remarks = remarks.map { Self.paragraph($0, in: window) }
        return text + title + edgeTable(in: window) + request + remarks.joined()
    }

    private func edgeTable(in window: Window) -> String {
        let isChanged = views.contains { $0.form != packet }
        let rows = views.map { view in
            let form = isChanged ? [view.form.ends] : []
            let verdict = [Self.reported(view), Self.place(view.isDecidedByKernel), reason(view)]
            return ([view.edge, Self.direction(view)] + form + verdict).map { Table.Cell($0) }
        }
        let form: [Table.Column] = isChanged ? [.word("FORM", rank: 3)] : []
        let table = Table(
            [.word("EDGE"), .word("DIRECTION", rank: 2)] + form + [
                .word("REPORTED"), .word("DECIDED IN", rank: 1), .sentence("WHY"),
            ], rows)
        return table.text(in: window.ofSentences)
    }

    /// Whether the edges are those of a connection's packets, and its first one is told apart.
    private var isOfConnection: Bool { packet.requestKind == .connection }

    /// The packets of which an object for programs says what the edges do.
    private var packetsAtEdges: String {
        switch packet.requestKind {
        case .connection: "established"
        case .ping: "requests"
        case nil: "all"
        }
    }

    /// An object for programs.
    var json: JSON {
        let ends = zip(packet.bothEnds, roles).map { end, role in
            JSON.object([("end", .text(end.description)), ("role", .text(role))])
        }
        let edges = views.map { view in
            JSON.object([
                ("edge", .text(view.edge)),
                ("direction", .text(Self.direction(view))),
                ("form", .text(view.form.description)),
                ("community_id", Self.communityID(view.form)),
                ("reported", .text(Self.reported(view))),
                ("decided_in", .text(Self.place(view.isDecidedByKernel))),
                ("why", .text(reason(view))),
            ])
        }
        return .object(
            [
                ("packet", .text(packet.description)), ("verdict", .text(verdict)),
                ("community_id", Self.communityID(packet)), ("source", ends[0]),
                ("destination", ends[1]),
                ("edges_are_for", .text(packetsAtEdges)), ("edges", .array(edges)),
                ("unseen_if_lost", .boolean(isLostUnseen)),
                ("remarks", .array(remarks.map { .text($0) })),
                ("request", outlook.map(Self.json) ?? .null),
            ] + selection.json(views))
    }
}

/// A packet at an edge, in words.
extension PacketReport {
    private static func communityID(_ packet: DescribedPacket) -> JSON {
        packet.communityID.map { .text($0) } ?? .null
    }

    private static func direction(_ view: Explainer.View) -> String {
        view.direction == .toPod ? "egress" : "ingress"
    }

    /// Where a packet is decided.
    static func place(_ isDecidedByKernel: Bool) -> String {
        isDecidedByKernel ? "kernel" : "user space"
    }

    /// Whether a packet is reported; unknown where only an agent that saw the call begin knows.
    private static func reported(_ view: Explainer.View) -> String {
        if view.isHeld(at: .sender) { return "if unanswered" }
        if view.isHeld(at: .observedEnd) { return "if answered" }
        if view.decision.step == .unexplainedService { return "unknown" }
        if view.decision == .report(.groupFromElsewhere) { return "once" }
        return view.decision.isReported ? "yes" : "no"
    }

    private func reason(_ view: Explainer.View) -> String {
        if view.decision.step == .unexplainedService, !view.isHere {
            return "a call to a service: ask there, only that node knows which pod serves it"
        }
        if view.decision == .report(.oneEndIsNoPod), !view.isHere {
            return """
                one end is not a pod, as far as this node knows: if it is a service, ask there, only \
                that node knows which pod serves it
                """
        }
        if view.decision == .report(.oneEndIsNoPod), views.count > 1 {
            return "on this edge's node one end is not a pod: reported as it is"
        }
        if view.decision.step == .unexplainedService {
            return """
                a call to a service that is not going on now: if a pod serves it, decided as a packet \
                to that pod; if not, reported here as it is
                """
        }
        if let end = view.observedEnd {
            let hasEqualPorts = view.form.source.port == view.form.destination.port
            return "both ends are pods: \(end) has the lower \(hasEqualPorts ? "address" : "port")"
        }
        if view.decision.isReported {
            switch view.decision.step {
            case .groupFromElsewhere:
                return """
                    if a pod sent it, that pod's edge reports it; if not, the first copy on each \
                    bridge is reported
                    """
            case .oneEndIsNoPodElsewhere:
                return "the other end's address lies outside the pod networks: this edge reports"
            default: break
            }
        }
        guard view.decision.isReported, let translation = view.translation else {
            return view.decision.step.description
        }
        let port = translation.newPort == 0 ? "" : " port \(translation.newPort)"
        return "\(view.decision.step.description): \(translation.newAddress)\(port)"
    }
}

/// A request, in words.
extension PacketReport {
    private static let answerTime = seconds(RequestPart.Limits.answerTime)
    private static let holdTime = seconds(RequestPart.Limits.holdTime)

    private static func seconds(_ duration: Duration) -> String {
        "\(duration.clampedNanoseconds / 1_000_000_000).\(duration.clampedNanoseconds / 100_000_000 % 10) s"
    }

    private static func name(_ kind: RequestKind) -> String {
        switch kind {
        case .connection: "A connection request (SYN)"
        case .ping: "A ping"
        }
    }

    private func text(_ outlook: RequestOutlook, in window: Window) -> String {
        let name = Self.name(outlook.kind)
        let edges = views.count(where: \.decision.isReported) > 1 ? "edges" : "edge"
        switch outlook.time {
        case .atOnce:
            return Self.paragraph(
                "\(name) is reported at once and by the same \(edges), answered or not.", in: window
            )
        case .held:
            return Self.paragraph("\(name) between these ends is held for its answer:", in: window)
                + "\n" + Self.table(outlook, in: window)
        case .heldIfPodServes:
            let condition = "if a pod with the lower port serves the call"
            return Self.paragraph("\(name) is held for its answer, \(condition):", in: window)
                + "\n" + Self.table(outlook, in: window)
        }
    }

    /// An empty line and a text, in lines of the output's width.
    private static func paragraph(_ text: String, in window: Window) -> String {
        "\n" + window.paragraph(text)
    }

    private static func table(_ outlook: RequestOutlook, in window: Window) -> String {
        let unanswered = outlook.unanswered
        let isCall = outlook.time == .heldIfPodServes
        let rows = [
            [
                "within \(answerTime)",
                outlook.answered?.edge ?? (isCall ? "the backend's edge" : "no edge"),
                outlook.answered?.form.ends ?? (isCall ? "as the backend sees it" : "-"),
                isCall || outlook.answered != nil ? "right before the answer" : "never",
            ],
            [
                "none in time", unanswered.edge,
                isCall
                    ? "the same, or as it is if the backend is not known"
                    : unanswered.form.ends,
                "\(holdTime) late, with its own time stamp",
            ],
        ]
        let table = Table(
            [.word("ANSWER"), .word("REPORTED AT"), .word("FORM", rank: 1), .sentence("WHEN")],
            rows.map { $0.map { Table.Cell($0) } })
        return table.text(in: window.ofSentences)
    }

    private static func json(_ outlook: RequestOutlook) -> JSON {
        func json(_ report: RequestOutlook.Report?) -> JSON {
            guard let report else { return .null }
            return .object([
                ("edge", .text(report.edge)), ("form", .text(report.form.description)),
            ])
        }
        let held: JSON =
            switch outlook.time {
            case .atOnce: .text("no")
            case .held: .text("yes")
            case .heldIfPodServes: .text("unknown")
            }
        let milliseconds = { (duration: Duration) in
            JSON.number(Int(duration.clampedNanoseconds / 1_000_000))
        }
        let times: [(String, JSON)] = [
            ("answer_ms_max", milliseconds(RequestPart.Limits.answerTime)),
            ("late_ms", milliseconds(RequestPart.Limits.holdTime)),
        ]
        return .object(
            [("kind", .text(outlook.kind.name)), ("held", held)]
                + (outlook.time == .atOnce ? [] : times)
                + [
                    ("answered", json(outlook.answered)),
                    ("unanswered", json(outlook.unanswered)),
                ])
    }
}

extension DescribedPacket {
    /// The source and the destination.
    fileprivate var bothEnds: [End] { [source, destination] }
}

extension RequestKind {
    /// The kind in a table or for programs.
    var name: String {
        switch self {
        case .connection: "syn"
        case .ping: "ping"
        }
    }
}
