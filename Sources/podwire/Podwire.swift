import Agent
import ArgumentParser
import Glibc
import Linux

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
        // A reader that goes away is no reason to die by a signal.
        _ = signal(SIGPIPE, SIG_IGN)
        Signals.ignoreUserSignals()
        do {
            var command = try parseAsRoot()
            try command.run()
        } catch {
            end(error)
        }
    }

    /// Ends the program, and says why in the way of all its errors: `podwire agent: REASON`.
    private static func end(_ error: any Error) -> Never {
        let code = exitCode(for: error)
        guard !code.isSuccess, !(error is ExitCode) else { exit(withError: error) }
        if error is SystemError {
            printMessage("\(invokedName): \(error)")
            exit(withError: Exit.systemError)
        }
        printMessage("\(invokedName): \(message(for: error))")
        if code == .validationFailure { printMessage("\(invokedName) --help lists the options.") }
        exit(withError: code)
    }

    /// The program with the command that was invoked: `"podwire agent"`.
    private static var invokedName: String {
        let word = CommandLine.arguments.dropFirst().first ?? ""
        let isCommand = configuration.subcommands.contains { $0.configuration.commandName == word }
        return isCommand ? "podwire \(word)" : "podwire"
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
