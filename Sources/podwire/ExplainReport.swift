import Explain
import Formats
import Linux
import Observation
import Packets
import Time

/// What `podwire explain` says of a described packet, as text or as JSON.
struct PacketReport {
    private let packet: DescribedPacket
    private let roles: [String]
    private let views: [Explainer.View]
    private let outlook: RequestOutlook?
    private let isLostUnseen: Bool

    init(_ packet: DescribedPacket, _ explainer: inout Explainer) {
        self.packet = packet
        roles = packet.bothEnds.map { explainer.role(of: $0.address) }
        views = explainer.explain(packet, now: .now)
        outlook = explainer.outlook(of: packet, now: .now)
        isLostUnseen = packet.requestKind == nil && views.contains(where: \.isReportedElsewhere)
    }

    /// The tables for people.
    var text: String {
        let ends = zip(["source", "destination"], zip(packet.bothEnds, roles)).map {
            [$0, $1.0.description, $1.1]
        }
        let text = "\(packet)\n\n" + Columns.text(["END", "ADDRESS", "IS A"], ends) + "\n"
        guard !views.isEmpty else { return text + "No pod's edge sees it.\n" }
        let isChanged = views.contains { $0.form != packet }
        let rows = views.map { view in
            [view.edge, Self.direction(view)] + (isChanged ? [view.form.ends] : [])
                + [Self.reported(view), Self.place(view.isDecidedByKernel), Self.reason(view)]
        }
        let head =
            ["EDGE", "DIRECTION"] + (isChanged ? ["FORM"] : []) + ["REPORTED", "DECIDED IN", "WHY"]
        let title = isOfConnection ? "A packet of an established connection:\n\n" : ""
        let remark = isLostUnseen ? "\nIf it dies on its way, nobody reports it.\n" : ""
        return text + title + Columns.text(head, rows) + (outlook.map(Self.text) ?? "") + remark
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
                ("reported", .text(Self.reported(view))),
                ("decided_in", .text(Self.place(view.isDecidedByKernel))),
                ("why", .text(Self.reason(view))),
            ])
        }
        return .object([
            ("packet", .text(packet.description)), ("source", ends[0]), ("destination", ends[1]),
            ("edges_are_for", .text(packetsAtEdges)), ("edges", .array(edges)),
            ("unseen_if_lost", .boolean(isLostUnseen)),
            ("request", outlook.map(Self.json) ?? .null),
        ])
    }
}

/// A packet at an edge, in words.
extension PacketReport {
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
        return view.decision.isReported ? "yes" : "no"
    }

    private static func reason(_ view: Explainer.View) -> String {
        if view.decision.step == .unexplainedService, !view.isHere {
            return "a call to a service: ask there, only that node knows which pod serves it"
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

    private static func text(_ outlook: RequestOutlook) -> String {
        let name = name(outlook.kind)
        switch outlook.time {
        case .atOnce:
            return """

                \(name) is reported at once and by the same edge, whether it is answered or not.

                """
        case .held:
            return "\n\(name) between these ends is held for its answer:\n\n" + table(outlook)
        case .heldIfPodServes:
            return
                "\n\(name) is held for its answer, if a pod with the lower port serves the call:\n\n"
                + table(outlook)
        }
    }

    private static func table(_ outlook: RequestOutlook) -> String {
        let unanswered = outlook.unanswered
        return Columns.text(
            ["ANSWER", "REPORTED AT", "FORM", "WHEN"],
            [
                [
                    "within \(answerTime)", outlook.answered?.edge ?? "the backend's edge",
                    outlook.answered?.form.ends ?? "as the backend sees it",
                    "right before the answer",
                ],
                [
                    "none in time", unanswered.edge,
                    outlook.answered == nil
                        ? "the same, or as it is if the backend is not known"
                        : unanswered.form.ends,
                    "\(holdTime) late, with its own time stamp",
                ],
            ])
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
