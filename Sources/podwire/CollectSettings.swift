import Agent
import ArgumentParser
import CaptureFiles
import Collector
import Linux

extension CollectCommand {
    /// The options of `podwire collect`, each checked and understood.
    struct Settings {
        let agents: SourceSettings
        let outputs: OutputOptions
        /// What is asked of agents, with the names of their pods.
        private(set) var capture: CaptureOptions
        let running: RunOptions.Settings

        /// The files; nil for none.
        var recording: RecordingOptions? { outputs.recording }

        /// Reads the options; throws a `ValidationError` that says what would be right.
        ///
        /// Options are validated first without reading files, since standard input can be read once.
        init(_ command: CollectCommand, readsFiles: Bool) throws {
            var options = command.agents
            if !command.words.isEmpty {
                guard options.filter == nil else {
                    throw ValidationError("--filter: there is a filter in words already")
                }
                options.filter = command.words.joined(separator: " ")
            }
            agents = try SourceSettings(
                options, snaplen: CaptureOptions.snaplenRange.upperBound,
                readsFiles: readsFiles)
            capture = agents.capture
            running = try command.running.settings()
            var outputs = try Self.outputs(command)
            outputs.recording?.filter = capture.fileFilter
            outputs.recording?.application = "podwire \(Version.number)"
            outputs.orderWindow = agents.orderWindow
            self.outputs = outputs
            if command.list, agents.sources.isEmpty {
                throw ValidationError("--list: it needs --from, agents that dial are not asked")
            }
            if command.json, !command.list, recording?.path == "-" {
                throw ValidationError("--json: standard output is taken by --output -")
            }
            guard ["on", "off"].contains(command.names) else {
                throw ValidationError("--names \(command.names): it takes on or off")
            }
            capture.wantsNames = command.names == "on"
            guard capture.wantsNames || command.inventory == nil else {
                throw ValidationError(
                    "--inventory: it has names of pods, so --names off leaves it empty")
            }
            if let folder = command.inventory, readsFiles, !command.list {
                capture.inventory = try Inventory(folder: folder)
            }
        }
    }
}
