import Agent
import ArgumentParser

/// The program and its commands.
@main
struct Podwire: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "podwire",
        abstract:
            "Captures the traffic of pods, and hands each packet once to a network sensor.",
        discussion: """
            An agent runs on every node. It captures at the pods' veths and forwards to one or more \
            sensors over RPCAP. `podwire collect` is a sensor that writes to a file.
            """,
        version: Version.text,
        subcommands: [
            AgentCommand.self, CollectCommand.self, DoctorCommand.self, EdgesCommand.self,
            ExplainCommand.self, FilterCommand.self, OpenerCommand.self, PasswordCommand.self,
            ReferenceCommand.self, TopCommand.self, VersionCommand.self,
        ])

    static func main() {
        endIfCommandIsUnknown(Array(CommandLine.arguments.dropFirst()))
        main(nil)
    }
}

/// The exit codes of podwire beside 0 and 1 (sysexits.h).
enum Exit {
    static let usage = ExitCode(64)
    static let noHost = ExitCode(69)
    static let systemError = ExitCode(71)
    static let cannotCreate = ExitCode(73)
    static let noPermission = ExitCode(77)
}
