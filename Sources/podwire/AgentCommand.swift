import Agent
import Settings
import ArgumentParser
import Glibc
import Linux
import Log
import Logging
import Security

struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Captures this node's pods and forwards each packet once to the sensors.",
        discussion: """
            Every option can also be given as a variable; the option wins. Required are \
            --pod-network, and --sensor or --listen. An example:

              podwire agent --sensor 192.0.2.10 --pod-network 10.244.0.0/16 \\
                  --service-network 10.96.0.0/12

            Where nothing is to be dialled it can be: with --listen any RPCAP client, such as \
            Wireshark, captures the stream or a single edge.

              podwire password eve --file users
              podwire agent --listen 2002 --allow 192.0.2.0/24 --password-file users \\
                  --pod-network 10.244.0.0/16

            It needs CAP_NET_RAW to capture, and CAP_NET_ADMIN to know the pods' addresses and what \
            becomes of calls to services. It runs until SIGTERM or SIGINT, forwards what it has for \
            at most a second, and exits with 0. \
            Exit code 64: a setting cannot be understood. 77: a capability is missing.
            """)

    @OptionGroup var options: AgentOptions

    func run() throws {
        let settings = try options.readSettings(for: "agent")
        Signals.block()
        let log = try AgentLog(settings)
        defer { log.flush() }
        let logger = log.logger
        do {
            let agent = try NodeAgent(settings, logger: logger)
            try Signals.onEnd(secondsMax: 2, orElse: log.fail) { agent.stop() }
            try agent.run()
            logger.info("agent stopped")
        } catch let error as MissingCapability {
            log.fail("\(error)")
            throw Exit.noPermission
        } catch let error as ThreadPlacement.Failure {
            log.fail("\(error)")
            throw error.exitCode
        } catch {
            log.fail("\(error)")
            // The files that settings name are settings, too.
            throw error is UserFile.Failure || error is TLSFailure ? Exit.usage : Exit.systemError
        }
    }
}

/// Everything that can be set about an agent.
struct AgentOptions: ParsableArguments {
    @Option(
        help:
            "Sensors to dial: HOST, HOST:PORT or [IPV6]:PORT, comma-separated. (EXTRAHOP_SENSOR_IP)"
    )
    var sensor: String?

    @Option(help: "The port where a sensor names none. (RPCAPD_TARGET_PORT, default 2003)")
    var sensorPort: String?

    @OptionGroup(title: "Edges") var edges: EdgeOptions
    @OptionGroup(title: "Edges") var names: NameOptions
    @OptionGroup(title: "Other addresses") var services: ServiceOptions
    @OptionGroup(title: "Passive mode") var passive: PassiveOptions
    @OptionGroup(title: "TLS") var tls: TLSOptions

    @Option(help: "The name under which the stream is offered. (INTERFACE, default any-eth)")
    var device: String?

    @Option(help: "on, or off to report at every edge. (PODWIRE_DEDUP, default on)")
    var dedup: String?

    @Option(
        help: """
            wire to send frames as a cable would have carried them, or raw to send super-frames and \
            unfinished checksums as the kernel has them. (PODWIRE_FRAMES, default wire)
            """)
    var frames: String?

    @Option(
        help:
            "The most bytes of a packet, whatever a sensor asks for. (PODWIRE_SNAPLEN, default 262144)"
    )
    var snaplen: String?

    @Option(
        help: """
            How data over UDP is framed: packet, udpstr, or auto for udpstr towards sensors and \
            packet towards clients. (PODWIRE_UDP_FORMAT, default auto)
            """)
    var udpFormat: String?

    @Option(help: "Memory for all rings of one capture. (PODWIRE_RING_MEMORY, default 256MiB)")
    var ringMemory: String?

    @Option(help: "Memory for the send queue of one capture. (PODWIRE_QUEUE_MEMORY, default 64MiB)")
    var queueMemory: String?

    @Option(
        help: """
            The most bytes that one capture sends in a second, such as 50MiB, or off; whole packets are \
            left out evenly. (PODWIRE_RATE_LIMIT, default off)
            """)
    var rateLimit: String?

    @Option(
        help: """
            The CPUs that the threads which forward packets may run on, such as 2,3,6-7. \
            (PODWIRE_CPUS, default: any)
            """)
    var cpus: String?

    @Option(
        // Its value may begin with a dash.
        parsing: .unconditional,
        help: """
            How nice these threads are, from -20 to 19; below 0 needs CAP_SYS_NICE. (PODWIRE_NICE, \
            default: as the agent is)
            """)
    var nice: String?

    @Option(
        help: """
            Where metrics and probes are answered over HTTP: ADDRESS:PORT, [IPV6]:PORT, PORT, or \
            off. (PODWIRE_HTTP, default 127.0.0.1:9464)
            """)
    var http: String?

    @Option(
        help:
            "trace, debug, info, notice, warning, error or critical. (PODWIRE_LOG_LEVEL, default info)"
    )
    var logLevel: String?

    @Option(
        help: """
            text for lines of key=value, or json for an object a line. (PODWIRE_LOG_FORMAT, default \
            text)
            """)
    var logFormat: String?

    /// Reads the settings on behalf of a command. Who only looks at a node needs no peer.
    func readSettings(for command: String, needsPeer: Bool = true) throws -> Settings {
        let values: [(Setting, String?)] = [
            (.sensors, sensor), (.sensorPort, sensorPort), (.device, device),
            (.deduplication, dedup), (.frames, frames), (.snaplen, snaplen),
            (.udpFormat, udpFormat),
            (.ringMemory, ringMemory), (.queueMemory, queueMemory), (.rateLimit, rateLimit),
            (.processors, cpus), (.niceness, nice), (.http, http), (.logLevel, logLevel),
            (.logFormat, logFormat),
        ]
        return try podwire.readSettings(command, [edges, names, services, passive, tls], values) {
            options, environment throws(SettingFailure) in
            try Settings(options: options, needsPeer: needsPeer, environment: environment)
        }
    }
}

extension ThreadPlacement.Failure {
    fileprivate var exitCode: ExitCode {
        switch self {
        case .processors: Exit.usage
        case .niceness: Exit.noPermission
        case .system: Exit.systemError
        }
    }
}
