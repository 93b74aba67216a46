import ArgumentParser

/// Puts pods on the wire.
@main
struct Podwire: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "podwire", abstract: "Puts pods on the wire.")
}
