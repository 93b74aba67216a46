import ArgumentParser
import Collector
import Glibc
import Linux
import Log
import Logging
import Security

/// Reads the settings of a command, and says what is wrong with them.
func readingSettings<Settings>(
    for command: String, _ read: () throws -> Settings
) throws -> Settings {
    do {
        return try read()
    } catch let error as ValidationError {
        writeToStandardError("podwire \(command): \(error.message)\n")
        throw Exit.usage
    } catch let error as TLSFailure {
        writeToStandardError("podwire \(command): \(error)\n")
        throw Exit.usage
    } catch {
        writeToStandardError("podwire \(command): \(error)\n")
        throw Exit.systemError
    }
}

/// Collects packets until SIGINT or SIGTERM.
///
/// - Returns: The collector with all that it has counted.
func collect(
    _ agents: SourceSettings, _ capture: CaptureOptions, to outputs: OutputOptions,
    _ display: DisplayOptions, for command: String
) throws -> Collector {
    let logger = Logger(label: "podwire") { _ in
        LineLogHandler(level: .info) { writeToStandardError($0(0)) }
    }
    do throws(SystemError) {
        let view = try LiveView(allowsColors: !display.noColor)
        let resized = view.resized.fileDescriptor
        try Signals.onWindowChange { Event.raise(resized) }
        let stop = try Signals.endEvent(secondsMax: 5)
        Descriptor.raiseCountMax()
        let collector = try Collector(
            at: agents.address, from: agents.sources, to: outputs, capture, stop: stop,
            view: view, logger: logger)
        try collector.run()
        return collector
    } catch {
        writeToStandardError("podwire \(command): \(error)\n")
        throw Exit.systemError
    }
}
