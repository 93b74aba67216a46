import ArgumentParser
import Collector
import Formats
import Glibc
import Linux
import Log
import Logging
import Security

struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "collect",
        abstract: "Is a sensor: writes what agents forward to a pcapng file.",
        discussion: """
            It accepts agents that dial, and dials those that wait to be asked, such as any rpcapd. \
            Each agent is an interface of the file. Until SIGINT or SIGTERM; then the agents send \
            what they have, and the file is completed. Some examples:

              podwire collect --output pods.pcapng
              podwire collect --output - | tshark -r -
              podwire collect --from rpcap://node1 --list
              podwire collect --from rpcap://node1/eth0 --from rpcap://[fd00::2]:2002
              tcpdump -y EN10MB -ddd port 53 |
                  podwire collect --bpf - --rotate-size 100MiB --keep 10

            A password in a URL can be seen by everybody who may list processes: better put it into \
            a file for --password-file, or into the variable PODWIRE_COLLECT_PASSWORD. It is for all \
            URLs with a user and no password, and crosses the network as it is, but for rpcaps.

            Exit code 64: an option cannot be understood. 69: no agent of --from could be captured \
            from, or listed. 71: the system refuses something, such as a file or a port.
            """)

    @Option(
        name: [.customShort("o"), .customLong("output")],
        help: "The file to write, or - for standard output. (default: podwire-DATE-TIME.pcapng)")
    var file: String?

    @Option(
        help: """
            An agent to dial, again and again: rpcap://[USER[:PASSWORD]@]HOST[:PORT][/DEVICE], or \
            rpcaps for TLS, with port 2002, no login, and the device that the agent prefers, unless \
            it says otherwise. Can be given more than once.
            """)
    var from: [String] = []

    @Option(
        help: """
            Where to listen: PORT, ADDRESS:PORT or [IPV6]:PORT. (default: 2003; nowhere with --from)
            """)
    var listen: String?

    @Option(help: "A file whose first line is the password for --from.")
    var passwordFile: String?

    @Flag(help: "Speak TLS with agents that dial; those of --from do where their URL is rpcaps.")
    var tls = false

    @Option(
        help: """
            For TLS: a PEM file with the certificates of agents, or of the authority that signs \
            them. (default for rpcaps: the authorities that this machine trusts)
            """)
    var tlsCa: String?

    @Flag(
        help: """
            For TLS: take anybody for an agent. Whoever sits on the way can read and change \
            everything.
            """)
    var tlsInsecure = false

    @Flag(help: "Show what the agents of --from can capture from, and end.")
    var list = false

    @Flag(
        help: """
            With --list, show that as JSON; otherwise print the final numbers of each agent as JSON \
            on standard output.
            """)
    var json = false

    @Option(help: "The most bytes of a packet to ask for, 64 to 262144.")
    var snaplen = 262_144

    @Option(
        help: """
            A file, or - for standard input, with a filter as `tcpdump -y EN10MB -ddd EXPRESSION` \
            prints it for Ethernet, which is what agents show.
            """)
    var bpf: String?

    @Flag(help: "Have packets come as UDP datagrams, which never hold an agent up but get lost.")
    var udp = false

    @Option(
        help: """
            Ask for one packet in N, as 1/N, or for one packet each so many milliseconds, as 10ms. \
            Agents may answer yes and send all the same.
            """)
    var sample: String?

    @Option(help: "Begin a new file at this size, such as 100MiB; at least 1MiB.")
    var rotateSize: String?

    @Option(help: "Begin a new file after this time, such as 60s, 5m or 1h, if there are packets.")
    var rotateTime: String?

    @Option(help: "Keep so many files when a new one begins, 2 to 10000; delete the oldest.")
    var keep: Int?

    func validate() throws {
        _ = try Settings(self, readsFiles: false)
    }

    func run() throws {
        let settings = try readSettings()
        Signals.block()
        if list { return try showDevices(settings) }
        let logger = Logger(label: "podwire") { _ in
            LineLogHandler(level: .info) { writeToStandardError($0(0)) }
        }
        let hasCaptured: Bool
        do throws(SystemError) {
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            try Signals.onEnd(secondsMax: 5) { Event.raise(stopNumber) }
            Descriptor.raiseCountMax()
            let collector = try Collector(
                at: settings.address, from: settings.sources, to: settings.recording,
                settings.options, stop: stop, view: LiveView(), logger: logger)
            try collector.run()
            report(collector, settings)
            hasCaptured = !collector.statistics.isEmpty
        } catch {
            writeToStandardError("podwire collect: \(error)\n")
            throw Exit.systemError
        }
        guard hasCaptured || settings.sources.isEmpty else { throw Exit.noHost }
    }

    private func showDevices(_ settings: Settings) throws {
        let lists: CollectLists
        do throws(SystemError) {
            let stop = try Event()
            let stopNumber = stop.fileDescriptor
            try Signals.onEnd(secondsMax: 2) { Event.raise(stopNumber) }
            lists = CollectLists(settings.sources, settings.options, cancel: stop)
        } catch {
            writeToStandardError("podwire collect: \(error)\n")
            throw Exit.systemError
        }
        lists.show(asJSON: json)
        if !lists.areComplete { throw Exit.noHost }
    }

    private func readSettings() throws -> Settings {
        do {
            return try Settings(self, readsFiles: true)
        } catch let error as ValidationError {
            writeToStandardError("podwire collect: \(error.message)\n")
            throw Exit.usage
        } catch let error as TLSFailure {
            writeToStandardError("podwire collect: \(error)\n")
            throw Exit.usage
        } catch {
            writeToStandardError("podwire collect: \(error)\n")
            throw Exit.systemError
        }
    }

    private func report(_ collector: Collector, _ settings: Settings) {
        let statistics = collector.statistics
        if statistics.isEmpty {
            writeToStandardError("no agent has captured\n")
        } else {
            writeToStandardError(Columns.text(SourceStatistics.head, statistics.map(\.row)))
        }
        if json { writeToStandardOutput(CollectReport.json(collector, settings).text + "\n") }
        guard settings.recording.path != "-", !statistics.isEmpty else { return }
        let byteCount = ByteCount(collector.fileByteCount)
        let more = collector.fileCount > 1 ? "\(collector.fileCount) files, the last of them " : ""
        writeToStandardError("\(byteCount) in \(more)\(collector.lastPath)\n")
    }
}
