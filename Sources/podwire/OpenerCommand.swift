import ArgumentParser
import Glibc
import Linux
import Log
import Logging
import Opener
import Settings
import Taps
import Time

/// `podwire opener`: opens sockets inside pods for an agent.
struct OpenerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "opener",
        abstract: "Opens sockets inside pods for the agent beside it, which has fewer rights.",
        discussion: """
            An agent that taps pods inside their network namespaces needs this process, which alone \
            has CAP_SYS_ADMIN. It runs as a second container of the agent's pod, as the same user, \
            and in the node's network namespace. It listens at a UNIX socket in a folder that both \
            containers mount. For each request it checks that the pod is one of this node, enters \
            its network namespace with a thread of its own, opens a packet socket there, and hands \
            it over. It reads nothing else, and nothing from the network.

              podwire opener --opener /run/podwire/opener.sock
              podwire opener --check

            With --check it tries whether it may do that, and whether an opener answers at the \
            socket. That is meant for a container's probes.

            It needs CAP_SYS_ADMIN and CAP_NET_RAW, and runs until SIGTERM or SIGINT.

            Exit code 64: a setting cannot be understood. 69: with --check, no opener answers. 71: \
            the system refuses something. 77: a capability is missing, or a security profile \
            forbids what is needed.
            """)

    @Option(.opener) var opener: SettingText?

    @Flag(
        name: .customLong(Setting.podInterfaces.name),
        help: """
            Also open sockets for interfaces of pods that have no end in the node, such as macvlans. \
            (PODWIRE_POD_INTERFACES=on)
            """)
    var podInterfaces = false

    @Flag(help: "Only look whether all is well, and exit.")
    var check = false

    @Option(.logLevel) var logLevel: SettingText?
    @Option(.logFormat) var logFormat: SettingText?

    func run() throws {
        let pods = podInterfaces ? SettingText(setting: .podInterfaces, text: "on") : nil
        let settings = try readSettings(of: "opener", [opener, pods, logLevel, logFormat]) {
            options, environment throws(SettingFailure) in
            try OpenerSettings(options: options, environment: environment)
        }
        let path = settings.socket
        try Self.tryRights()
        if check { return try Self.probe(path, settings) }
        Signals.block()
        let log = try ProgramLog(of: "opener", settings.log)
        log.warnOfUnknownVariables()
        defer { log.flush() }
        let logger = log.logger
        do throws(SystemError) {
            let stop = try StopSignal()
            try Signals.onEnd(secondsMax: 1) { stop.give() }
            let server = try OpenerServer(
                at: path, try PodSocketOpener(opensPodInterfaces: settings.opensPodInterfaces),
                user: effectiveUser(), logger: logger)
            logger.info(
                "opener listening",
                metadata: [
                    "socket": "\(path)",
                    "pod_interfaces": settings.opensPodInterfaces ? "on" : "off",
                ])
            try server.run(until: stop)
            logger.info("opener stopped")
        } catch {
            let advice = Self.advice(error.errno, path).map { "; \($0)" } ?? ""
            log.fail("\(error)\(advice)")
            throw Exit.systemError
        }
    }

    /// What to do if the opener cannot listen.
    private static func advice(_ errno: Errno, _ path: String) -> String? {
        switch errno {
        case .noSuchFileOrDirectory:
            let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
            return "make its folder first (mkdir -p \(folder)), or name another socket"
        case .addressInUse:
            return
                "another opener listens there, or the file is no socket: end the one, move the other"
        default: return nil
        }
    }

    private static func tryRights() throws {
        for capability in [Capability.sysAdmin, .netRaw] where !capability.isHeld {
            throw fail("\(MissingCapability(capability))", Exit.noPermission)
        }
        do throws(PodSocketOpener.Failure) {
            try PodSocketOpener.tryRights()
        } catch {
            let failure = PodSocketFailure.refused(error.step, error.errno)
            let code = failure.reason == .permission ? Exit.noPermission : Exit.systemError
            throw fail("\(failure); \(failure.advice)", code)
        }
    }

    private static func probe(_ path: String, _ settings: OpenerSettings) throws {
        do throws(PodSocketFailure) {
            try PodSocketClient(path: path).probe(
                forPodInterfaces: settings.opensPodInterfaces)
        } catch {
            throw fail("\(error); \(error.advice)", Exit.noHost)
        }
    }

    private static func fail(_ text: String, _ code: ExitCode) -> ExitCode {
        printMessage(of: "opener", text)
        return code
    }
}
