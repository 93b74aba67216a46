import Addressing
import ArgumentParser
import CaptureFiles
import Collector
import Filter
import Flows
import Formats
import Glibc
import Linux

/// `podwire top`: shows who talks to whom.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Shows who talks to whom, live or in a capture file.",
        usage: "podwire top [<file>] [<options>]",
        discussion: """
            A conversation is a client and a service that it calls, at an address and a port, over \
            any number of connections. The client is the one that opens connections. Pods have \
            names if the agents know them, or if the file has them, as those of `podwire collect` do.

              podwire top                           (waits for agents that dial)
              podwire top --from rpcap://node1 --sort rate
              podwire top pods.pcapng
              podwire top pods.pcapng --sort unanswered --only shop/
              podwire top pods.pcapng --filter 'port 53'
              tcpdump -i eth0 -w - | podwire top -

            Live, a terminal shows a table that is new each second, until SIGINT, SIGTERM or SIGHUP, or \
            for --duration; RATE is that of the last second. SIGUSR1 prints the table so far. The last table, and that of a file, has the average over the time \
            of each conversation. For a script, `podwire collect --flows FILE` keeps a file.

            BYTES and PACKETS are those of both directions. A request is a TCP SYN or a ping: \
            UNANSWERED are those without an answer within 3 s, REFUSED those that were reset, or that \
            an ICMP error refused. Each column is there if there is one such request, or if --sort names it. What does not \
            fit the window is left out; a pipe or a file gets all of it.

            Exit code 64: an option or the file cannot be understood. 69: no agent of --from could be \
            captured from. 71: the system refuses something, such as a file or a port.
            """)

    @Argument(
        help: """
            A pcap or pcapng file, or - for standard input. It may be compressed with gzip. Without \
            it, what agents send is shown.
            """,
        completion: .file(extensions: ["pcap", "pcapng", "gz"]))
    var file: String?

    @Option(
        help: ArgumentHelp(
            """
            What to sort by: \
            \(ConversationList.Order.allCases.map(\.rawValue).joined(separator: ", ")). Names from A \
            on; all else from the largest or latest on.
            """, valueName: "ORDER"))
    var sort: ConversationList.Order = .bytes

    @Option(
        help: ArgumentHelp(
            """
            Show only conversations with this text in the client or the service: a part of a name, \
            of an address, or :53/udp. Given several times, all have to be there.
            """, valueName: "TEXT"))
    var only: [String] = []

    @Option(
        help: ArgumentHelp(
            "The most conversations to show. (default: 20; live what fits; with --json all)",
            valueName: "COUNT"))
    var count: Int?

    @Flag(help: "Print JSON: an object; live at the end.")
    var json = false

    @OptionGroup var running: RunOptions

    @OptionGroup var display: DisplayOptions

    @OptionGroup(title: "Agents") var agents: SourceOptions

    private static let standardCount = 20
    /// The bytes of a packet that agents are asked for: all headers, and those that an ICMP error
    /// quotes.
    private static let snaplen = 256

    func validate() throws {
        guard count.map({ $0 > 0 }) ?? true else {
            throw ValidationError("--count: it takes a number from 1 on")
        }
        _ = try running.settings()
        guard file != nil else {
            _ = try settings(readsFiles: false)
            return
        }
        if running.duration != nil {
            throw ValidationError("--duration: it is for agents, and a file is read to its end")
        }
        if let option = agents.firstGiven {
            throw ValidationError(
                "\(option): it is for agents, and a file is read as it is: give a file, or agents")
        }
    }

    func run() throws {
        if let file {
            try readingCaptures(for: "top") { try show(file) }
        } else {
            try watch()
        }
    }

    private func settings(readsFiles: Bool) throws -> SourceSettings {
        var settings = try SourceSettings(agents, snaplen: Self.snaplen, readsFiles: readsFiles)
        settings.capture.wantsNames = true
        return settings
    }

    private func watch() throws {
        let settings = try readingSettings(for: "top") { try self.settings(readsFiles: true) }
        Signals.block([SIGUSR1] + Signals.ofTerminal)
        var outputs = OutputOptions()
        outputs.orderWindow = settings.orderWindow
        outputs.flows = FlowOptions(
            view: FlowOptions.View(by: sort, filter: only, countMax: count ?? .max))
        let show = { (collector: Collector) in
            if let flows = collector.flows { try self.show(flows.table, flows.names) }
        }
        let running = try running.settings()
        let log = try agents.log.open(for: "top", isQuiet: running.isQuiet)
        log.warnOfUnknownVariables()
        defer { log.flush() }
        let collector = try collect(
            settings, settings.capture, to: outputs, running, display, log: log
        ) { collector in
            // The live table is gone by then.
            log.flush()
            try? show(collector)
        }
        log.flush()
        try show(collector)
        if !running.isQuiet,
            let hint = CollectReport.filterHint(collector, settings.capture.filterText)
        {
            log.hint(hint)
        }
        try throwFailure(of: collector, log)
        guard !collector.statistics.isEmpty || settings.sources.isEmpty else { throw Exit.noHost }
    }

    private func show(_ file: String) throws {
        var reader = try CaptureReader(path: file)
        var table = ConversationTable()
        let filter = try readingSettings(for: "top") { try agents.filterExpression() }
        var isEmpty = true
        let damage = try reader.readAll { frame in
            isEmpty = false
            guard filter.map({ frame.passes($0.program) }) ?? true else { return }
            table.add(
                frame.bytes.wire, wireByteCount: frame.wireByteCount,
                nanoseconds: frame.nanoseconds)
        }
        table.finish()
        try show(table, reader.names)
        if !isEmpty, table.frameCount == 0, reader.isPodwires, !running.quiet,
            let hint = filter.flatMap({ FilterOptions.hint(forUnmatched: $0.text) })
        {
            printMessage(of: "top", hint)
        }
        for gap in reader.gaps { printMessage(of: "top", "\(file): \(gap)") }
        if let damage {
            printMessage(of: "top", "\(file): \(damage)")
            throw Exit.usage
        }
    }

    private func show(
        _ table: ConversationTable, _ names: [IPAddress: String]
    ) throws(SystemError) {
        let countMax = count ?? (json ? .max : Self.standardCount)
        let list = ConversationList(
            table, names: names, filter: only, by: sort, countMax: countMax, since: nil)
        let report = TopReport(table, list)
        if json {
            try writeToStandardOutput(report.json.text + "\n")
        } else {
            try writeToStandardOutput(report.text(in: display.window))
        }
    }
}

extension ConversationList.Order: ExpressibleByArgument {}
