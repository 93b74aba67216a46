import Agent
import ArgumentParser

/// Puts pods on the wire.
@main
struct Podwire: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "podwire",
        abstract:
            "Puts pods on the wire: what they say reaches a network sensor, each packet once.",
        discussion: """
            On every node runs an agent, which captures at the pods' veths and forwards to one or \
            more sensors over RPCAP. Where there is no sensor yet, `podwire collect` is one.
            """,
        version: Version.number,
        subcommands: [
            AgentCommand.self, CollectCommand.self, DoctorCommand.self, EdgesCommand.self,
            ExplainCommand.self,
            PasswordCommand.self,
        ])
}

/// The exit codes of podwire beside 0 (sysexits.h).
enum Exit {
    static let usage = ExitCode(64)
    static let noHost = ExitCode(69)
    static let systemError = ExitCode(71)
    static let cannotCreate = ExitCode(73)
    static let noPermission = ExitCode(77)
}
