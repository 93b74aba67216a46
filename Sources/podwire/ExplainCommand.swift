import Addressing
import ArgumentParser
import BPF
import CaptureFiles
import Doctor
import Edges
import Explain
import Filter
import Formats
import Linux
import Observation
import Settings

/// `podwire explain`: tells which edge reports a packet.
struct ExplainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Says which edge reports a packet, and why.",
        usage: "podwire explain <packet> ... | --file <FILE> | --program <EDGE> [<options>]",
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

            A connection request (SYN) or a ping between pods that the end with the lower port or \
            address does not send itself is held until its answer comes. The edge that reports it \
            without an answer within half a second is another one than with it, so `explain` says \
            both. Of a TCP packet the first table is for the packets of an established connection, \
            and the second one for the SYN. Of a file it lists the requests that nobody answered \
            within half a second.

              tcpdump -i veth08b350d0 -c 1000 -w edge.pcap
              podwire explain --file edge.pcap --edge veth08b350d0
              tcpdump -i veth08b350d0 -c 1000 -w - |
                podwire explain --file - --edge veth08b350d0
              podwire explain --program veth08b350d0

            A file has to be recorded at an edge, which --edge names. Without it the edge is the one \
            whose pod's MAC address all packets of the file have; those of a conversation of just two \
            pods have two, and standard input is read once, so there each packet counts as recorded \
            where it enters. A file that `podwire collect` has written has what agents report, not what \
            passed an edge, unless it is of one edge (rpcap://AGENT/EDGE).

            Of the agent's settings it takes those that decide the answer, by the options below or by \
            their variables; the others, as of memory or of TLS, change nothing. It needs \
            CAP_NET_ADMIN. Pods have names if root runs it, and if the node's container runtime keeps \
            a cache of CNI results.

            Exit code 64: an option, the packet or what is in the file cannot be understood, or no \
            packet of the file can be explained. 71: \
            the system refuses something, such as a file. 77: a capability is missing.
            """)

    @Argument(
        help: """
            PROTOCOL SOURCE DESTINATION. The protocol is tcp, udp, sctp, icmp (of IPv4 and of IPv6) \
            or a number, such as 112 for VRRP; the ends are ADDRESS, or ADDRESS:PORT or [IPV6]:PORT for protocols with ports.
            """,
        completion: .list(["tcp", "udp", "sctp", "icmp"]))
    var packet: [String] = []

    @Option(
        help: ArgumentHelp(
            """
            A pcap or pcapng file, recorded at edges of this node (not with -i any), or - for \
            standard input. It may be compressed with gzip.
            """, valueName: "FILE"),
        completion: .file(extensions: ["pcap", "pcapng", "gz"]))
    var file: String?

    @Option(
        help: ArgumentHelp(
            "The edge at which the file was recorded. (default: found by the packets' MAC addresses)",
            valueName: "EDGE"),
        completion: .interfaces)
    var edge: String?

    @Option(
        help: ArgumentHelp("The edge whose BPF program to list.", valueName: "EDGE"),
        completion: .interfaces)
    var program: String?

    @Flag(help: "Print JSON: an object. Of a file it has all requests that nobody answered.")
    var json = false

    @OptionGroup var display: DisplayOptions

    @OptionGroup var podNetworks: PodNetworkOptions
    @OptionGroup var edges: EdgeOptions
    @OptionGroup var names: NameOptions
    @OptionGroup var taps: TapOptions
    @OptionGroup var services: ServiceOptions
    @Option(.deduplication) var dedup: SettingText?
    @OptionGroup var selection: SelectionOptions

    @Option(
        .sensors,
        help: "Addresses of sensors; their feeds are not reported. (\(Setting.sensors.variable))")
    var sensor: SettingText?

    @Option(
        .http,
        help: Setting.http.help(
            """
            Where this node's agent answers, which is asked from which addresses its pods send; off \
            to ask none.
            """))
    var http: SettingText?

    /// The texts of the settings that decide the answer.
    private var texts: [SettingText?] {
        podNetworks.texts + edges.texts + names.texts + taps.texts + services.texts
            + selection.texts + [dedup, sensor, http]
    }

    func validate() throws {
        let count = [!packet.isEmpty, file != nil, program != nil].count { $0 }
        guard count == 1 else {
            throw ValidationError("give one of a packet, --file and --program")
        }
        guard edge == nil || file != nil else {
            throw ValidationError("--edge needs --file")
        }
        guard !json || program == nil else {
            throw ValidationError("--json needs a packet or --file")
        }
    }

    func run() throws {
        var settings = try readSettings()
        warnOfUnknownVariables(of: "explain")
        try readingCaptures(for: "explain") {
            if settings.takesOnLinkPodNetworks {
                let onLink = try OnLinkPodNetworks(reading: settings.edges)
                settings = settings.with(podNetworks: onLink.networks)
            }
            let described: DescribedPacket?
            do throws(DescribedPacket.Failure) {
                described = packet.isEmpty ? nil : try DescribedPacket(words: packet)
            } catch {
                printMessage(of: "explain", "\(error)")
                throw Exit.usage
            }
            var explainer = try Explainer.read(settings)
            if let failure = explainer.addressFailure {
                let missing = MissingCapability(.netAdmin)
                printMessage(
                    of: "explain",
                    """
                    the pods' addresses are not known, so no packet can be explained \
                    (\(failure)): \(missing)
                    """)
                throw Exit.noPermission
            }
            if let described {
                explainer.senders = Self.senders(settings)
                let report = PacketReport(
                    described, &explainer, try ExplainedSelection(settings))
                try writeToStandardOutput(
                    json ? report.json.text + "\n" : report.text(in: display.window))
            } else if let program {
                try list(program, explainer, try ExplainedSelection(settings))
            } else if let file {
                try explain(file, explainer, try ExplainedSelection(settings))
            }
        }
    }

    private func readSettings() throws -> Settings {
        try podwire.readSettings(of: "explain", texts) {
            options, environment throws(SettingFailure) in
            try Settings(options: options, needsPeer: false, environment: environment)
        }
    }

    /// The addresses from which pods send, as the agent of this node has seen; nil without an agent.
    private static func senders(_ settings: Settings) -> [IPAddress: String]? {
        AgentProbe.readSenders(at: settings.http).map { senders in
            Dictionary(senders.map { ($0.address, $0.edge) }) { one, _ in one }
        }
    }

    private func namedEdge(_ name: String, _ explainer: borrowing Explainer) throws -> Edge {
        guard let edge = explainer.edge(named: name) else {
            printMessage(
                of: "explain", "\(name) is not an edge of this node: see `podwire edges`")
            throw Exit.usage
        }
        return edge
    }
}

extension ExplainCommand {
    private func list(
        _ name: String, _ explainer: borrowing Explainer, _ selection: ExplainedSelection
    ) throws {
        let program = try explainer.program(
            at: namedEdge(name, explainer), filter: selection.filter?.program,
            sample: selection.sample
        ).program
        let remark = """
            The program with which an agent begins, given these settings. A running agent adds its \
            sensors' addresses, what it learns about services, and the sensor's filter at "keep".
            """
        let mark = "; "
        let head = Wording.lines(remark, width: display.window.sentenceWidth - mark.count)
            .map { mark + $0 + "\n" }.joined()
        try writeToStandardOutput(head + program.listingText(in: display.window))
    }

    private func explain(
        _ path: String, _ explainer: consuming Explainer, _ selection: ExplainedSelection
    ) throws {
        let named = try edge.map { name in try namedEdge(name, explainer) }
        let file = try ExplainedFile(path, at: named, of: explainer.edges)
        var reader = try CaptureReader(path: path)
        var explanation = FileExplanation(
            explainer, at: file.edge, isInferred: file.source == .addresses)
        let damage = try reader.readAll { frame in
            explanation.add(frame.bytes, nanoseconds: frame.nanoseconds)
        }
        explanation.end()
        let report =
            file.refusal(of: reader).map { FileReport(refusal: $0) }
            ?? FileReport(explanation, reader, file, selection, damage: damage)
        if json {
            try writeToStandardOutput(report.json.text + "\n")
        } else {
            for doubt in report.doubts { printMessage(of: "explain", doubt) }
            try writeToStandardOutput(report.text(in: display.window))
            for remark in report.remarks { printMessage(of: "explain", remark) }
        }
        if report.isEmpty || damage != nil { throw Exit.usage }
    }
}
