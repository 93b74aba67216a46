import ArgumentParser
import CaptureFiles
import Collector
import Formats
import Glibc
import Linux
import Log
import Logging
import Security

/// The command `podwire collect`.
struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collect",
        abstract: "Acts as a sensor: writes the packets of agents to a file, or passes them on.",
        usage: "podwire collect [<filter> ...] [<options>]",
        discussion: """
            It accepts agents that dial, and dials those that listen, such as any rpcapd. Each agent \
            is an interface of the file. It runs until SIGINT, SIGTERM or SIGHUP, or as --duration and \
            --count say; then the agents send what they have, and the file is completed. With files \
            that rotate SIGHUP begins new ones, unless the terminal is gone. SIGUSR1 prints the \
            numbers so far. Files are made so that only their owner can read them. Some examples:

              podwire collect --output pods.pcapng
              podwire collect --output - | tshark -r -
              podwire collect --output dns.pcapng --duration 10s --count 100 port 53
              podwire collect --serve             (then: tshark -i TCP@127.0.0.1:57012)
              podwire collect --push arkime.example --output pods.pcapng --rotate-time 1h
              podwire collect --from rpcap://node1 --list
              podwire collect --from rpcap://node1 --pod shop/web-1
              podwire collect --from rpcap://node1/eth0 --from rpcap://[fd00::2]:2002
              podwire collect --interface pods0
              podwire collect --tunnel vxlan://sensor --output pods.pcapng
              podwire collect --rotate-size 100MiB --keep 10 port 53
              podwire collect -o web.pcapng 'host 10.244.1.2 and (port 80 or 443)'

            Everybody who may list processes can read a password in a URL. Put it into a file for \
            --password-file instead, or into the variable PODWIRE_COLLECT_PASSWORD; at a terminal it \
            is asked for. It is used for all URLs with a user and no password. Without rpcaps it crosses the network in the clear.

            Exit code 0 also if the program that reads --output - goes away. 64: an option cannot be \
            understood, or --output - is a terminal. 69: no agent of --from could be captured \
            from, or with --list one could not be listed. 71: the system refused something, such as a file or a port.
            """)

    @Argument(
        help: ArgumentHelp(
            """
            A filter in the words of pcap-filter(7), as --filter has it. Quote it if it has signs that \
            mean something to the shell.
            """, valueName: "filter"))
    var words: [String] = []

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: ArgumentHelp(
            """
            The file to write, or - for standard output. (default: podwire-DATE-TIME.pcapng; no file \
            beside other outputs)
            """, valueName: "FILE"),
        completion: .file(extensions: ["pcapng", "pcap"]))
    var file: String?

    @Option(
        help: ArgumentHelp(
            """
            The format of files. pcapng has an interface for each agent. pcap is what every program \
            reads, but has no interfaces and one link type, with times in nanoseconds. (default: \
            pcap for an --output that ends in .pcap, or else pcapng)
            """, valueName: "pcap|pcapng"))
    var format: CaptureFormat?

    @Option(
        defaultAsFlag: "\(FeedOptions.standardPort)",
        help: ArgumentHelp(
            """
            Pass packets on to programs that connect (pcap-over-IP), 64 at most, at a PORT of this \
            host, ADDRESS:PORT or [IPV6]:PORT. A reader that is too slow loses packets.
            """, valueName: "[ADDRESS:]PORT"))
    var serve: String?

    @Option(
        help: ArgumentHelp(
            """
            Pass packets on to a program that listens (pcap-over-IP), as HOST[:PORT]; it is dialled \
            again when it is gone. Can be given more than once. (default port: 57012)
            """, valueName: "HOST[:PORT]"))
    var push: [String] = []

    @Option(
        help: ArgumentHelp(
            """
            The format of --serve and --push. Arkime takes pcap only; pcapng has an interface for \
            each agent. (default: pcap)
            """, valueName: "pcap|pcapng"))
    var serveFormat: CaptureFormat?

    @Option(
        help: ArgumentHelp(
            """
            Who may read what --serve serves, beside this host: ADDRESS or ADDRESS/N, with commas. \
            (default: everybody who reaches the port)
            """, valueName: "NETWORKS"))
    var allow: [String] = []

    @OptionGroup(title: "Agents") var agents: SourceOptions

    @Option(
        help: ArgumentHelp(
            "End when so many packets have been written, or passed on without a file.",
            valueName: "COUNT"))
    var count: Int?

    @OptionGroup var running: RunOptions

    @Flag(help: "List the devices of the agents of --from, and exit.")
    var list = false

    @Flag(
        help: """
            With --list, print the devices as JSON. Otherwise print the final statistics of each \
            agent as JSON on standard output.
            """)
    var json = false

    @OptionGroup var display: DisplayOptions

    @Option(
        help: ArgumentHelp(
            """
            Begin a new file before one would be larger than this, such as 100MiB; at least 1MiB.
            """, valueName: "SIZE"),
        completion: .list(["100MiB", "1GiB", "10GiB"]))
    var rotateSize: String?

    @Option(
        help: ArgumentHelp(
            """
            Begin a new file after this time, such as 60s, 5m or 1h, if there are packets; a number \
            alone is seconds.
            """, valueName: "TIME"),
        completion: .list(["60s", "5m", "1h", "1d"]))
    var rotateTime: String?

    @Option(
        help: ArgumentHelp(
            """
            The most files to keep, 2 to 10000; of each link type, if they are split. The oldest is \
            deleted when a new one begins, or when the disk is full: of those that this run or an \
            earlier one with --keep has written, which the folder .podwire beside them lists.
            """, valueName: "COUNT"))
    var keep: Int?

    @Option(
        help: ArgumentHelp(
            """
            Make an interface of this name, such as pods0, on which programs of this node see all \
            packets, and remove it at the end. It needs CAP_NET_ADMIN. A file is then written only \
            with --output.
            """, valueName: "NAME"))
    var interface: String?

    @Option(
        help: ArgumentHelp(
            """
            Send all packets into a tunnel: vxlan://HOST[:PORT][?vni=N] or \
            geneve://HOST[:PORT][?vni=N]. By default the port is 4789 or 6081, and the network 1. A \
            file is then written only with --output. Can be given more than once.
            """, valueName: "URL"),
        completion: .list(["vxlan://", "geneve://"]))
    var tunnel: [String] = []

    @Option(
        help: ArgumentHelp(
            """
            A file of conversations, who talks to whom as `podwire top` has it: JSON, a line for each, \
            replaced every 10 s and at the end. Packets are then written only with --output.
            """, valueName: "FILE"),
        completion: .file(extensions: ["ndjson", "json"]))
    var flows: String?

    @Option(
        help: ArgumentHelp(
            """
            Whether to ask podwire's agents for the names of their pods and to write them into pcapng \
            files, where Wireshark finds them: on or off.
            """, valueName: "on|off"),
        completion: .list(["on", "off"]))
    var names = "on"

    @Option(
        help: ArgumentHelp(
            """
            A folder for files of pods' addresses and names, which are kept up to date: hosts, \
            pods.ndjson for Suricata's datasets, pods.tsv for Zeek's input framework. Packets are written \
            as without it.
            """, valueName: "FOLDER"),
        completion: .directory)
    var inventory: String?

    @Flag(
        help: """
            Write a file of its own for each link type, such as NAME-EN10MB.pcapng and \
            NAME-LINUX_SLL.pcapng. Without it an agent of another link type than Ethernet makes the \
            file one that tcpdump and Zeek cannot read.
            """)
    var splitLinkTypes = false

    func validate() throws {
        _ = try Settings(self, readsFiles: false)
    }

    func run() throws {
        let settings = try readingSettings(for: "collect") { try Settings(self, readsFiles: true) }
        if list {
            Signals.block()
            return try showDevices(settings)
        }
        Signals.block([SIGUSR1] + Signals.ofTerminal)
        let log = try agents.log.open(for: "collect", isQuiet: settings.running.isQuiet)
        log.warnOfUnknownVariables()
        defer { log.flush() }
        let collector = try collect(
            settings.agents, settings.capture, to: settings.outputs, settings.running, display,
            log: log
        ) { collector in
            if settings.running.isQuiet || isTerminal(STDERR_FILENO), log.format == .text {
                log.show(CollectReport.numbers(collector, in: display.errorWindow))
            } else {
                collector.logNumbers(isAsked: true)
            }
        }
        try report(collector, settings, log)
        try throwFailure(of: collector, log)
        guard !collector.statistics.isEmpty || settings.agents.sources.isEmpty else {
            throw Exit.noHost
        }
    }

    private func showDevices(_ settings: Settings) throws {
        warnOfUnknownVariables(of: "collect")
        let lists: CollectLists
        do throws(SystemError) {
            let stop = try Signals.endEvent(secondsMax: 2)
            lists = CollectLists(settings.agents.sources, settings.capture, cancel: stop)
        } catch {
            printMessage(of: "collect", "\(error)")
            throw Exit.systemError
        }
        try lists.show(asJSON: json, in: display.window)
        if !lists.areComplete { throw Exit.noHost }
    }

    private func report(_ collector: Collector, _ settings: Settings, _ log: ProgramLog) throws {
        if !settings.running.isQuiet {
            // The log stays one of objects to its end.
            if log.format == .json {
                collector.logNumbers()
                collector.logFiles()
            } else {
                log.show(CollectReport.numbers(collector, in: display.errorWindow))
                if settings.recording?.path != "-", !collector.statistics.isEmpty {
                    log.show(CollectReport.filesText(collector))
                }
            }
            if let hint = CollectReport.filterHint(collector, settings.capture.filterText) {
                log.hint(hint)
            }
            log.flush()
        } else if collector.statistics.isEmpty, settings.agents.sources.isEmpty {
            // A run to which nobody has come has gone wrong, most likely.
            if log.format == .json {
                collector.logNumbers()
            } else {
                log.show(CollectReport.noAgentText)
            }
            log.flush()
        }
        if json { try writeToStandardOutput(CollectReport.json(collector, settings).text + "\n") }
    }
}
