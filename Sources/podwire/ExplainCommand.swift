import Addressing
import ArgumentParser
import BPF
import CaptureFiles
import Edges
import Explain
import Formats
import Linux
import Observation
import Packets
import Settings

/// `podwire explain`: tells which edge reports a packet.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Says which edge reports a packet, and why.",
        discussion: """
            The answer holds for this node at this moment: its pods, its routes, and the state of its \
            connection tracking. So explain a call to a service while it goes on, and a file on the \
            node where it was recorded while the pods are still there.

              podwire explain tcp 10.244.1.2:40000 10.244.2.3:80
              podwire explain udp '[fd00:10:244:1::2]:5000' '[fd00:10:96::a]:53'
              podwire explain icmp 10.244.1.2 10.244.1.1

            At an edge, ingress is the direction from the pod, and egress the direction to the pod. \
            The kernel decides most packets. User space decides a packet if more than the packet \
            itself is needed.

              podwire explain --file edge.pcap --edge veth08b350d0
              tcpdump -i veth08b350d0 -c 1000 -w - | podwire explain --file -
              podwire explain --program veth08b350d0

            It takes the agent's settings as options or variables, and needs CAP_NET_ADMIN.

            Exit code 64: an option or the packet cannot be understood. 71: the system refuses \
            something, such as a file. 77: a capability is missing.
            """)

    @Argument(
        help: """
            PROTOCOL SOURCE DESTINATION. The protocol is tcp, udp, sctp, icmp or a number; the ends \
            are ADDRESS, or ADDRESS:PORT or [IPV6]:PORT for protocols with ports.
            """,
        completion: .list(["tcp", "udp", "sctp", "icmp"]))
    var packet: [String] = []

    @Option(
        help: """
            A pcap or pcapng file, recorded at edges of this node, or - for standard input. It may \
            be compressed with gzip.
            """,
        completion: .file(extensions: ["pcap", "pcapng", "gz"]))
    var file: String?

    @Option(
        help: "The edge at which the file was recorded. (default: found by MAC addresses)",
        completion: .interfaces)
    var edge: String?

    @Option(help: "The edge whose BPF program to list.", completion: .interfaces)
    var program: String?

    @OptionGroup var edges: EdgeOptions
    @OptionGroup var services: ServiceOptions

    @Option(
        .sensors,
        help: "Addresses of sensors; their feeds are not reported. (\(Setting.sensors.variable))")
    var sensor: SettingText?

    func validate() throws {
        let count = [!packet.isEmpty, file != nil, program != nil].count { $0 }
        guard count == 1 else {
            throw ValidationError("give one of a packet, --file and --program")
        }
        guard edge == nil || file != nil else {
            throw ValidationError("--edge needs --file")
        }
    }

    func run() throws {
        let settings = try readSettings()
        do {
            let described = packet.isEmpty ? nil : try DescribedPacket(words: packet)
            var explainer = try Explainer.read(settings)
            if let failure = explainer.addressFailure {
                let missing = MissingCapability(.netAdmin)
                writeToStandardError(
                    """
                    podwire explain: the pods' addresses are not known, so no packet can be \
                    explained (\(failure)): \(missing)

                    """)
                throw Exit.noPermission
            }
            if let described {
                writeToStandardOutput(Self.text(described, &explainer))
            } else if let program {
                try list(program, explainer)
            } else if let file {
                try explain(file, explainer)
            }
        } catch let error as DescribedPacket.Failure {
            writeToStandardError("podwire explain: \(error)\n")
            throw Exit.usage
        } catch let code as ExitCode {
            throw code
        } catch {
            writeToStandardError("podwire explain: \(error)\n")
            throw Exit.systemError
        }
    }

    private func readSettings() throws -> Settings {
        try podwire.readSettings(of: "explain", edges.texts + services.texts + [sensor]) {
            options, environment throws(SettingFailure) in
            try Settings(options: options, needsPeer: false, environment: environment)
        }
    }

    private func namedEdge(_ name: String, _ explainer: borrowing Explainer) throws -> Edge {
        guard let edge = explainer.edge(named: name) else {
            writeToStandardError(
                "podwire explain: \(name) is not an edge of this node: see `podwire edges`\n")
            throw Exit.usage
        }
        return edge
    }
}

extension ExplainCommand {
    private static func text(
        _ packet: DescribedPacket, _ explainer: inout Explainer
    ) -> String {
        let ends = [("source", packet.source), ("destination", packet.destination)].map {
            [$0, $1.description, explainer.role(of: $1.address)]
        }
        let views = explainer.explain(packet, now: .now)
        var text = "\(packet)\n\n" + Columns.text(["END", "ADDRESS", "IS A"], ends) + "\n"
        guard !views.isEmpty else { return text + "No pod's edge sees it.\n" }
        let isChanged = views.contains { $0.form != packet }
        let rows = views.map { view in
            [view.edge, view.direction == .toPod ? "egress" : "ingress"]
                + (isChanged ? [view.form.ends] : []) + [
                    reported(view), view.isDecidedByKernel ? "kernel" : "user space", reason(view),
                ]
        }
        let head =
            ["EDGE", "DIRECTION"] + (isChanged ? ["FORM"] : []) + ["REPORTED", "DECIDED IN", "WHY"]
        text += Columns.text(head, rows)
        return text
    }

    /// Whether a packet is reported; unknown where only an agent that saw the call begin knows.
    private static func reported(_ view: Explainer.View) -> String {
        if view.decision.step == .unexplainedService { return "unknown" }
        return view.decision.isReported ? "yes" : "no"
    }

    private static func reason(_ view: Explainer.View) -> String {
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
        guard let translation = view.translation else { return view.decision.step.description }
        let port = translation.newPort == 0 ? "" : " port \(translation.newPort)"
        return "\(view.decision.step.description): \(translation.newAddress)\(port)"
    }

    private func list(_ name: String, _ explainer: borrowing Explainer) throws {
        let program = try explainer.program(at: namedEdge(name, explainer)).program
        let lines = program.listing
        let width = lines.map(\.instruction.count).max() ?? 0
        let text = lines.enumerated().map { index, line in
            let number = "\(index)"
            let padding = String(repeating: " ", count: 4 - min(4, number.count))
            let instruction = Wording.padded(line.instruction, to: width)
            return "\(padding)\(number)  \(instruction)  ; \(line.note)\n"
        }
        let head = """
            ; The program with which an agent begins, given these settings. A running agent adds its
            ; sensors' addresses, what it learns about services, and the sensor's filter at "keep".

            """
        writeToStandardOutput(head + text.joined())
    }

    private func explain(_ path: String, _ explainer: consuming Explainer) throws {
        let recordedAt = try edge.map { name in try namedEdge(name, explainer) }
        var reader = try CaptureReader(path: path)
        var explanation = FileExplanation(explainer, at: recordedAt)
        while let frame = try reader.next() {
            explanation.add(frame.bytes, nanoseconds: frame.nanoseconds)
        }
        writeToStandardOutput(Self.text(explanation))
        for note in Self.notes(explanation, reader) {
            writeToStandardError("podwire explain: \(note)\n")
        }
    }

    private static func text(_ explanation: borrowing FileExplanation) -> String {
        let total = explanation.frameCount - explanation.strangerCount
        let rows = explanation.counts.sorted { ($1.value, "\($0.key)") < ($0.value, "\($1.key)") }
            .map { row, count in
                [
                    "\(count)", percentage(count, of: total), row.isReported ? "yes" : "no",
                    row.isDecidedByKernel ? "kernel" : "user space", row.step.description,
                ]
            }
        let punted = explanation.puntedCount
        return Columns.text(["PACKETS", "SHARE", "REPORTED", "DECIDED IN", "WHY"], rows)
            + "\n\(Wording.count(total, "packet")), \(punted) of them decided in user space "
            + "(\(percentage(punted, of: total)))\n"
    }

    /// Remarks about the file without which the table misleads.
    private static func notes(
        _ explanation: borrowing FileExplanation, _ reader: borrowing CaptureReader
    ) -> [String] {
        var notes: [String] = []
        let (strangers, ambiguous) = (explanation.strangerCount, explanation.ambiguousCount)
        if strangers > 0 {
            let have = Wording.count(strangers, one: "more packet has", more: "more packets have")
            notes.append("\(have) no MAC address of a pod that is on this node now")
        }
        if ambiguous > 0 {
            let are = Wording.count(ambiguous, one: "packet is", more: "packets are")
            notes.append(
                """
                \(are) between two pods of this node, taken as recorded at the sender's edge: give \
                --edge to say where the file was recorded
                """)
        }
        if reader.skippedCount > 0 {
            let are = Wording.count(
                reader.skippedCount, one: "packet is no Ethernet frame",
                more: "packets are no Ethernet frames")
            notes.append("\(are): record at an edge")
        }
        if reader.isCutShort { notes.append("the file ends in the middle of a packet") }
        return notes
    }

    private static func percentage(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "0 %" }
        let tenths = (part * 1000 + whole / 2) / whole
        return "\(tenths / 10).\(tenths % 10) %"
    }
}
