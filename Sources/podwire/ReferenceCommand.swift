import Agent
import ArgumentParser
import Metrics
import Settings

/// `podwire reference`: prints a table of the documentation, which `tools/docs` puts into a page.
struct ReferenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "reference",
        abstract: "Prints a table of the documentation in Markdown.",
        shouldDisplay: false)

    /// The tables that can be printed.
    enum Table: String, CaseIterable, ExpressibleByArgument {
        case settings, metrics, commands
    }

    @Argument(help: "The table: settings, metrics or commands.")
    var table: Table

    func run() throws {
        let (head, rows) =
            switch table {
            case .settings: Self.settings
            case .metrics: Self.metrics
            case .commands: Self.commands
            }
        let lines = [head, head.map { _ in "---" }] + rows
        try writeToStandardOutput(
            lines.map { "| \($0.joined(separator: " | ")) |\n" }.joined())
    }

    private static var settings: (head: [String], rows: [[String]]) {
        let rows = Setting.all.map { setting in
            let standard =
                switch setting.standard {
                case .value(let value): "`\(value)`"
                case .unset(let words), .required(let words): words
                }
            return ["`\(setting.variable)`", "`\(setting.option)`", standard, setting.meaning]
        }
        return (["variable", "option", "default", "meaning"], rows)
    }

    private static var metrics: (head: [String], rows: [[String]]) {
        let rows = AgentMetrics.families.map { family in
            let labels = family.labels.isEmpty ? "" : "{\(family.labels.joined(separator: ", "))}"
            return ["`\(family.name)\(labels)`", family.kind.rawValue, family.help]
        }
        return (["metric", "type", "meaning"], rows)
    }

    private static var commands: (head: [String], rows: [[String]]) {
        let shown = Podwire.configuration.subcommands.map { $0.configuration }.filter {
            $0.shouldDisplay
        }
        let rows = shown.map { ["`podwire \($0.commandName ?? "")`", $0.abstract] }
        return (["command", "what it does"], rows)
    }
}
