import Agent
import ArgumentParser
import Edges
import Glibc
import Linux
import Log
import Logging
import Security
import Settings

/// `podwire agent`: captures and forwards.
struct AgentCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "agent",
        abstract: "Captures this node's pods and forwards each packet once to the sensors.",
        usage: "podwire agent --sensor <SENSORS> --pod-network <NETWORKS> [<options>]",
        discussion: """
            Each option can also be given as an environment variable; the option wins. --pod-network \
            is required, and so is --sensor or --listen. An example:

              podwire agent --sensor 192.0.2.10 --pod-network 10.244.0.0/16 \\
                  --service-network 10.96.0.0/12

            With --listen, RPCAP clients such as Wireshark dial the agent. A client captures the \
            stream of all edges, or a single edge:

              podwire password eve --file users
              podwire agent --listen 2002 --allow 192.0.2.0/24 --password-file users \\
                  --pod-network 10.244.0.0/16

            The agent needs CAP_NET_RAW to capture, and CAP_NET_ADMIN to learn the pods' addresses \
            and to follow calls to services. It runs until SIGTERM or SIGINT. Then it forwards what \
            it has captured, for at most a second, and exits with code 0. It does not forward SYNs \
            and pings between pods that still wait for their answers, and fragments that wait for \
            the first of their datagram: they count as abandoned. SIGUSR1 has it log its summary at \
            once.

            Exit code 64: a setting cannot be understood. 71: the system refuses something, such as \
            a port. 77: a capability is missing.
            """)

    @OptionGroup var options: AgentOptions

    func run() throws {
        var settings = try options.readSettings(for: "agent")
        Signals.block([SIGHUP, SIGUSR1])
        let rights = Rights(giveUpFor: settings)
        let log = try ProgramLog(of: "agent", settings.log)
        defer { log.flush() }
        let logger = log.logger
        log.warnOfUnknownVariables()
        do {
            if settings.takesOnLinkPodNetworks {
                let onLink = try OnLinkPodNetworks(reading: settings.edges)
                logger.warning(
                    "\(OnLinkPodNetworks.warning)",
                    metadata: ["pod_networks": "\(onLink.description)"])
                settings = settings.with(podNetworks: onLink.networks)
            }
            let agent = try NodeAgent(settings, logger: logger)
            rights.log(to: logger)
            try Signals.onEnd(secondsMax: agent.endSecondsMax, orElse: log.fail) { agent.stop() }
            try Signals.on(SIGHUP) { agent.reload() }
            try Signals.on(SIGUSR1) { agent.askForSummary() }
            try agent.run()
            logger.info("agent stopped")
        } catch {
            log.fail("\(error)")
            throw Self.exitCode(of: error)
        }
    }

    /// What has become of the rights that the agent does not need.
    private struct Rights {
        private let outcome: Result<Int, SystemError>

        /// Gives them up, while there is no other thread.
        init(giveUpFor settings: Settings) {
            outcome = Result { () throws(SystemError) in
                try Capability.giveUpAll(but: settings.capabilities)
            }
        }

        func log(to logger: Logger) {
            switch outcome {
            case .success(0): break
            case .success(let count):
                logger.info(
                    "capabilities that are not needed given up", metadata: ["count": .number(count)]
                )
            case .failure(let error):
                logger.warning(
                    """
                    capabilities that are not needed could not be given up, and stay: grant NET_RAW \
                    and NET_ADMIN alone
                    """, metadata: ["reason": "\(error)"])
            }
        }
    }

    private static func exitCode(of error: any Error) -> ExitCode {
        switch error {
        case is MissingCapability, ThreadPlacement.Failure.niceness: Exit.noPermission
        // The files that settings name are settings, too.
        case is UserFile.Failure, is TLSFailure, is FilterFile.Failure,
            OnLinkPodNetworks.Failure.none,
            ThreadPlacement.Failure.processors:
            Exit.usage
        default: Exit.systemError
        }
    }
}
