import Agent
import ArgumentParser
import Formats

/// `podwire version`: what `podwire --version` prints.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Prints the version.", shouldDisplay: false)

    func run() throws { try writeToStandardOutput("\(Version.text)\n") }
}

extension Podwire {
    /// Ends the program if its first argument is meant for a command, and there is none of that name.
    static func endIfCommandIsUnknown(_ arguments: [String]) {
        let commands = configuration.subcommands.map { $0.configuration }
        let names = commands.compactMap { $0.commandName }
        let word = arguments.first == "help" ? arguments.dropFirst().first : arguments.first
        guard let word, !word.hasPrefix("-"), word != "help", !names.contains(word) else { return }
        let shown = commands.filter { $0.shouldDisplay }.compactMap { $0.commandName }
        let advice =
            Spelling.nearest(to: word, among: shown).map { "did you mean '\($0)'?" }
            ?? "there are \(shown.joined(separator: ", "))"
        printMessage("podwire: no command '\(word)': \(advice)")
        exit(withError: Exit.usage)
    }
}
